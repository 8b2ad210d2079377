"""Which profile fits a device: decides by its product name, as a driver or the system says it."""

import re
from collections.abc import Iterable

from ttsw.profiles.schema import Profile

LESS = 0.98
"""A device with less than this share of a profile's memory is another one."""

_FILLING = {"nvidia", "geforce", "tesla", "graphics", "pcie", "hbm2", "hbm2e", "hbm3", "hbm3e", "nvl", "generation"}


def choose(
    profiles: Iterable[Profile],
    device_name: str,
    *,
    cores: int | None = None,
    memory_mb: float | None = None,
) -> Profile | None:
    """Choose the profile that fits a device best; None where none does.

    The exact product name comes first, a name that means the same next; of these, a measured profile comes before an
    estimated one, and a younger one before an older; an interrupted measurement is never chosen. A GPU with less memory
    than a profile's isn't its device. A CPU must be the same processor with as many cores.

    Args:
        profiles: Those that there are.
        device_name: The device's product name.
        cores: A CPU's cores, those that this process may use; None for a GPU.
        memory_mb: The device's memory.
    """
    whole = (profile for profile in profiles if profile.provenance != "partial")
    fitting = [profile for profile in whole if _fits(profile, device_name, cores, memory_mb)]
    return max(
        fitting,
        key=lambda each: (
            each.device.name == device_name,
            each.provenance == "measured",
            each.date.replace(tzinfo=None),
            each.name,
        ),
        default=None,
    )


def _fits(profile: Profile, name: str, cores: int | None, memory_mb: float | None) -> bool:
    device = profile.device
    if cores is not None:
        return device.kind == "cpu" and device.cores == cores and normal(device.name) == normal(name)
    if device.kind != "gpu" or not same_product(device.name, name):
        return False
    return memory_mb is None or memory_mb >= LESS * device.memory_mb


def same_product(one: str, other: str) -> bool:
    """Whether two names mean the same GPU."""
    return one == other or product(one) == product(other)


def product(name: str) -> str:
    """Bring a GPU's names down to what tells products apart; how it is built in and its memory don't.

    >>> [product(each) for each in ("NVIDIA GeForce RTX 4090", "rtx4090", "NVIDIA A100-SXM4-80GB", "RTX 4090 D")]
    ['rtx4090', 'rtx4090', 'a100', 'rtx4090d']
    """
    words = re.findall(r"[a-z0-9.]+", name.lower())
    if "mig" in words:
        return " ".join(words)  # a part of a GPU is another thing, and its memory says which
    return "".join(word for word in words if word not in _FILLING and not re.fullmatch(r"sxm\d*|\d+gb", word))


def normal(name: str) -> str:
    """Bring a processor's names down to their words.

    >>> normal("Intel(R) Xeon(R)  CPU @ 2.20GHz")
    'intel xeon cpu 2.20ghz'
    """
    return " ".join(re.findall(r"[a-z0-9.]+", re.sub(r"\((r|tm|c)\)", " ", name.lower())))
