"""GPUs, as their maker publishes them. Where one name stands for several, the figures are those of the slowest.

Dense rates, without sparsity. Memory is what the name says, in MB of 10⁶ bytes; drivers tell of a little more. Sources
are NVIDIA's data sheets and white papers; figures were compared with public lists of specifications, except those said
to be not compared.
"""

from collections.abc import Mapping
from typing import NamedTuple

from ttsw.errors import NotFoundError


class Card(NamedTuple):
    """A GPU.

    Args:
        product: Its name, as its driver says it.
        memory_mb: Its memory.
        bandwidth_gb_s: How fast its memory is read, GB/s.
        fp16_tflops: Its rate in half precision by tensor cores, summed in single precision, TFLOPS.
        fp32_tflops: Its rate in single precision, TFLOPS.
        compute_capability: Its generation.
    """

    product: str
    memory_mb: float
    bandwidth_gb_s: float
    fp16_tflops: float
    fp32_tflops: float
    compute_capability: str


CARDS: Mapping[str, Card] = {
    # Ada GPU Architecture white paper: 24 GB GDDR6X, 1008 GB/s, 165.2 and 82.6 TFLOPS
    "rtx4090": Card("NVIDIA GeForce RTX 4090", 24_000, 1008, 165.2, 82.6, "8.9"),
    # Ampere GA102 white paper: 24 GB GDDR6X, 936 GB/s, 71 (not compared) and 35.6 TFLOPS
    "rtx3090": Card("NVIDIA GeForce RTX 3090", 24_000, 936, 71, 35.6, "8.6"),
    # A10G data sheet: 24 GB GDDR6, 600 GB/s, 70 TFLOPS (not compared); 31.2 TFLOPS are the A10's, and it has some more
    "a10g": Card("NVIDIA A10G", 24_000, 600, 70, 31.2, "8.6"),
    # L4 data sheet: 24 GB GDDR6, 300 GB/s, 242 TFLOPS with sparsity (121 without), 30.3 TFLOPS
    "l4": Card("NVIDIA L4", 24_000, 300, 121, 30.3, "8.9"),
    # L40S data sheet: 48 GB GDDR6, 864 GB/s, 362.05 and 91.6 TFLOPS
    "l40s": Card("NVIDIA L40S", 48_000, 864, 362, 91.6, "8.9"),
    # A100 data sheet, PCIe: 80 GB, 1935 GB/s (not compared; the SXM form reads 2039), 312 and 19.5 TFLOPS
    "a100-80g": Card("NVIDIA A100 80GB PCIe", 80_000, 1935, 312, 19.5, "8.0"),
    # H100 data sheet, PCIe: 80 GB, 2000 GB/s (the SXM form reads 3350), 1513 TFLOPS with sparsity (756), 51 TFLOPS
    "h100": Card("NVIDIA H100 PCIe", 80_000, 2000, 756, 51, "9.0"),
    # H200 data sheet: 141 GB, 4800 GB/s; of the NVL form (the SXM form has 989 and 67) 1671 TFLOPS with sparsity (835),
    # and 60 TFLOPS (both not compared)
    "h200": Card("NVIDIA H200", 141_000, 4800, 835, 60, "9.0"),
}
"""By the names of their profiles."""


def find_card(name: str) -> Card:
    """Find a card by its short name.

    Raises:
        NotFoundError: It isn't known; the text lists those that are.
    """
    if name not in CARDS:
        raise NotFoundError(f"no card {name!r}; known are: {', '.join(CARDS)}")
    return CARDS[name]
