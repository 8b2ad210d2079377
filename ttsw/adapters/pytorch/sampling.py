"""Which token comes next: what the library's stream draws, with chance that belongs to one utterance.

The rules and their order are those of transformers' logits processors, as `generate` applies them: repetition penalty,
temperature, the best k, the likeliest that make up p. On the CPU and in numpy, so that a seed means the same on every
device, and that one utterance's numbers are no other's business.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SamplingOptions:
    """How to draw.

    Args:
        temperature: What logits are divided by.
        top_k: So many of the best tokens are drawn from; 0 for all.
        top_p: And of these the likeliest that have this share of the probability together.
        repetition_penalty: How much less likely a token is that was there before; 1 for no less.
    """

    temperature: float = 0.75
    top_k: int = 50
    top_p: float = 0.85
    repetition_penalty: float = 5.0


def draw(logits: Logits, seen: Collection[int], how: SamplingOptions, chance: np.random.Generator) -> int:
    """Draw a token.

    Args:
        logits: Of each token, shape (tokens,).
        seen: Tokens that were there before.
        how: The rules.
        chance: Gives one number.

    Raises:
        FloatingPointError: The logits aren't numbers.
    """
    tokens, shares = distribution(logits, seen, how)
    # in the order of tokens, not of likelihood: rounding may swap two that are equally likely
    edges = np.cumsum(shares)
    return int(tokens[min(np.searchsorted(edges, chance.random() * edges[-1], "right"), len(tokens) - 1)])


def distribution(
    logits: Logits, seen: Collection[int], how: SamplingOptions
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Give the tokens that can come next, in ascending order, and the probability of each.

    >>> tokens, shares = distribution(np.array([0, 1, 1, -5], np.float32), [1], SamplingOptions(1.0, 2, 1.0, 1e9))
    >>> tokens.tolist(), shares.round(2).tolist()
    ([1, 2], [0.27, 0.73])

    Raises:
        FloatingPointError: The logits aren't numbers.
    """
    if not np.isfinite(logits).all():
        raise FloatingPointError("the model's output is not finite")
    scores = logits.astype(np.float64)
    before = np.fromiter(seen, np.intp)
    again = scores[before]
    scores[before] = np.where(again < 0, again * how.repetition_penalty, again / how.repetition_penalty)
    scores /= how.temperature
    tokens = np.arange(len(scores))
    if 0 < how.top_k < len(scores):
        tokens = np.flatnonzero(scores >= np.partition(scores, -how.top_k)[-how.top_k])
    shares = _softmax(scores[tokens])
    if how.top_p < 1:
        rising = np.argsort(shares, kind="stable")
        rare = np.cumsum(shares[rising]) <= 1 - how.top_p
        rare[-1] = False
        kept = np.sort(rising[~rare])
        tokens, shares = tokens[kept], shares[kept] / shares[kept].sum()
    return tokens, shares


def _softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(scores - scores.max())
    return np.asarray(powers / powers.sum())
