"""Seams: each segment is an inference of its own, so its waveform may start and stop anywhere.

This file decides how a segment's edges are softened: a raised-cosine fade of 3 ms in and out. A Piper sentence ends
in silence, but may start within a breath or an "sh", 50 dB below full scale and loud enough for a tick. The last 3 ms
are held back until it is known whether the segment ends there.
"""

import functools

import numpy as np

from ttsw.types import Samples

FADE_MS = 3.0
"""Length of a fade, ms: shorter than a plosive's burst, and a jump then bends the waveform less than a voice does."""


class SegmentFader:
    """Fade a segment in at its start and out at its end; chunks may be cut anywhere.

    Args:
        sample_rate: The stream's rate, Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self._ramp = _ramp(sample_rate)
        self._held = np.empty(0, np.float32)
        self._faded = 0  # samples of the segment that the fade-in has passed

    def push(self, chunk: Samples) -> Samples:
        """Take the segment's next samples, shape (n,); return those that are sure not to be its last 3 ms."""
        buffer = np.concatenate((self._held, chunk))
        if self._faded < len(self._ramp):
            self._fade_in(buffer[len(self._held) :])
        ready = max(0, len(buffer) - len(self._ramp))
        self._held = buffer[ready:].copy()
        return buffer[:ready]

    def finish(self) -> Samples:
        """End the segment: return what was held, faded out. The next push starts another segment."""
        tail, self._held, self._faded = self._held, np.empty(0, np.float32), 0
        ramp = self._ramp if len(tail) == len(self._ramp) else _raised_cosine(len(tail))  # shorter: all of the segment
        return tail * ramp[::-1]

    def _fade_in(self, fresh: Samples) -> None:
        ramp = self._ramp[self._faded : self._faded + len(fresh)]
        fresh[: len(ramp)] *= ramp
        self._faded += len(ramp)


@functools.cache
def _ramp(sample_rate: int) -> Samples:
    return _raised_cosine(max(1, round(sample_rate * FADE_MS / 1000)))


def _raised_cosine(length: int) -> Samples:
    phase = (np.arange(length) + 0.5) / max(1, length)
    return (0.5 - 0.5 * np.cos(np.pi * phase)).astype(np.float32)
