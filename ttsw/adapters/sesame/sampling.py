"""Which code comes next, drawn where the model is: a frame has one code a codebook, and each depends on the one before.

Drawing 32 times on the CPU would cost as many waits for a GPU. So all that chance decides is made before a frame, in
numpy and by the utterance's own generator, and sent along with it: a number between 0 and 1 for each codebook. Where it
falls among the codes' summed probabilities, in the order of codes, is the code. What an utterance draws is nobody
else's business, then, and the same on every device but for rounding.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ttsw.types import Samples


class CsmSampling(NamedTuple):
    """How to draw a code.

    Args:
        temperature: What logits are divided by.
        top_k: So many of the best codes are drawn from; 0 for all, 1 for the best.
    """

    temperature: float
    top_k: int


class SamplingDefaults(NamedTuple):
    """How a frame's codes are drawn.

    Args:
        first: The first codebook's, which the backbone makes.
        rest: The others', which the depth decoder makes.
    """

    first: CsmSampling
    rest: CsmSampling


class Chance(NamedTuple):
    """What decides the codes of a frame of some utterances, on the device.

    Args:
        temperatures: Shape (rows, 2, 1): for the first codebook, and for the others.
        ranks: Which of the best codes is the last to draw from, 0 the best, shape (rows, 2, 1).
        numbers: Shape (rows, codebooks, 1), from 0 to below 1.
        most: The largest of the ranks, of the first codebook and of the others; None where all codes may be drawn.
    """

    temperatures: Tensor
    ranks: Tensor
    numbers: Tensor
    most: tuple[int | None, int | None]


def prepare(numbers: Sequence[Samples], draws: Sequence[SamplingDefaults], codes: int, device: torch.device) -> Chance:
    """Send to the device what decides a frame.

    Args:
        numbers: Of each utterance, one for each codebook, shape (codebooks,).
        draws: Of each utterance, how to draw.
        codes: How many codes there are.
        device: Where to.
    """
    ranks = [[(min(how.top_k, codes) or codes) - 1 for how in each] for each in draws]
    table = np.array(
        [
            # drawing from one alone needs no chance; of two that are equally likely it takes the first, as argmax does
            [*(how.temperature for how in each), *last, *np.where(_greedy(last, len(own)), 0, own)]
            for own, each, last in zip(numbers, draws, ranks, strict=True)
        ],
        np.float32,
    )
    sent = torch.from_numpy(table).to(device)[..., None]
    first, rest = (None if min(each) == codes - 1 else max(each) for each in zip(*ranks, strict=True))
    return Chance(sent[:, :2], sent[:, 2:4].long(), sent[:, 4:], (first, rest))


def draw(logits: Tensor, chance: Chance, codebook: int) -> tuple[Tensor, Tensor]:
    """Draw a code for each utterance.

    Args:
        logits: Of each code that can be, shape (rows, codes).
        chance: What decides.
        codebook: Which codebook.

    Returns:
        The codes, shape (rows,), and something that is finite if the logits were, shape (rows,).
    """
    kind = min(codebook, 1)
    scores = logits.float() / chance.temperatures[:, kind]
    most = chance.most[kind]
    if most is not None:
        least = scores.topk(most + 1).values.gather(1, chance.ranks[:, kind])
        scores = scores.masked_fill(scores < least, -torch.inf)
    edges = scores.softmax(-1, dtype=torch.float64).cumsum(-1)
    whole = edges[:, -1:]
    return (edges <= chance.numbers[:, codebook] * whole).sum(-1).clamp_(max=scores.shape[1] - 1), whole[:, 0]


def _greedy(last: Sequence[int], codebooks: int) -> list[bool]:
    return [last[min(codebook, 1)] == 0 for codebook in range(codebooks)]
