"""Streaming interpolation of frames, equal to interpolating all at once, and fading audio out."""

import math

import numpy as np
import torch
from torch import Tensor

from ttsw.types import Samples


class Stretch:
    """Linear interpolation of streamed frames, equal to torch's of all frames at once.

    Args:
        factor: Output frames per input frame.
    """

    def __init__(self, factor: float) -> None:
        self._factor = factor
        self._held: Tensor | None = None
        self._first = self._out = 0

    def push(self, frames: Tensor, *, end: bool = False) -> Tensor:
        """Return the frames that these complete, shapes (n, channels) and (m, channels)."""
        held = frames if self._held is None else torch.cat([self._held, frames])
        known = self._first + len(held)
        where = self._positions(self._out, max(self._out, math.ceil(known * self._factor) + 1))
        where = where[: max(0, math.floor(known * self._factor) - self._out)] if end else where[where < known - 1]
        before = np.minimum(where.astype(np.int64), known - 1)
        share = torch.from_numpy(where - before.astype(np.float32)).to(held)[:, None]
        left, right = (
            held[torch.from_numpy(each - self._first).to(held.device)]
            for each in (before, np.minimum(before + 1, known - 1))
        )
        self._out += len(where)
        # one frame more than the next position needs, in case of rounding
        first = min(known, max(self._first, int(self._positions(self._out, self._out + 1)[0]) - 1))
        self._held, self._first = held[first - self._first :].clone(), first
        return left * (1 - share) + right * share

    def _positions(self, start: int, stop: int) -> Samples:
        """Return the output frames' positions among the input frames, rounded as torch rounds."""
        scale = np.float32(1 / self._factor)
        return np.maximum(scale * (np.arange(start, stop, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5), 0)


def fade_out(audio: Samples, samples: int) -> Samples:
    """Fade the last samples out linearly.

    >>> fade_out(np.ones(5, np.float32), 4).tolist()
    [1.0, 0.75, 0.5, 0.25, 0.0]
    """
    count = min(samples, len(audio))
    ramp = np.linspace(1, 0, count + 1, dtype=np.float32)[1:]
    return np.concatenate([audio[: len(audio) - count], audio[len(audio) - count :] * ramp])
