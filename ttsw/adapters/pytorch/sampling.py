"""Token sampling as in the library's stream, with random numbers per utterance.

The rules and their order are those of transformers' logits processors in `generate`: repetition penalty, temperature,
top-k, top-p. Computed in numpy on the CPU, so that a seed has the same result on every device, and utterances don't
share random state.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SamplingOptions:
    """Sampling parameters.

    Args:
        temperature: Divisor of the logits.
        top_k: Number of best tokens to sample from; 0 for all.
        top_p: Share of probability of the likeliest of these to sample from.
        repetition_penalty: Penalty for tokens that occurred before; 1 for none.
    """

    temperature: float = 0.75
    top_k: int = 50
    top_p: float = 0.85
    repetition_penalty: float = 5.0


def draw(logits: Logits, seen: Collection[int], how: SamplingOptions, chance: np.random.Generator) -> int:
    """Sample a token.

    Args:
        logits: Logits, shape (tokens,).
        seen: Tokens that occurred before.
        how: Sampling parameters.
        chance: Random generator, from which one number is taken.

    Raises:
        FloatingPointError: The logits contain NaN.
    """
    tokens, shares = distribution(logits, seen, how)
    # ordered by token rather than by probability, since rounding may swap equally likely ones
    edges = np.cumsum(shares)
    return int(tokens[min(np.searchsorted(edges, chance.random() * edges[-1], "right"), len(tokens) - 1)])


def distribution(
    logits: Logits, seen: Collection[int], how: SamplingOptions
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the tokens that can come next, ascending, and their probabilities.

    >>> tokens, shares = distribution(np.array([0, 1, 1, -5], np.float32), [1], SamplingOptions(1.0, 2, 1.0, 1e9))
    >>> tokens.tolist(), shares.round(2).tolist()
    ([1, 2], [0.27, 0.73])

    Raises:
        FloatingPointError: The logits contain NaN.
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
