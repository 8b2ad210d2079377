"""A true-peak limiter with a few milliseconds of look-ahead, for a stream.

This file decides how gain moves. Control runs on blocks of 0.5 ms: the reduction that a block's true peak asks for
(dB) is let go at a constant rate, spread ahead over the look-ahead and smoothed by a filter that is no longer than
that, so that the gain has come down when the peak arrives; between blocks the gain is interpolated. Where no sample
can come near the ceiling and no reduction is being let go, nothing of this runs and the samples pass untouched, which
is what the whole computation would give. How a true peak is found, `ttsw.audio.true_peak` decides.
"""

import math

import numpy as np
from numpy.typing import NDArray

from ttsw.audio.true_peak import BLOCK, REACH, block_peaks, l1_norm
from ttsw.types import Samples
from ttsw.units import SAMPLE_RATE, db_to_gain

LOOKAHEAD = 5
"""Blocks of look-ahead: 2.5 ms at 48 kHz."""

DELAY = LOOKAHEAD * BLOCK + REACH + BLOCK
"""Samples held back, less than this: 168, or 3.5 ms at 48 kHz."""

RELEASE_DB_S = 100.0
"""How fast a reduction is let go, dB/s: 6 dB in 60 ms."""

MARGIN_DB = 0.25
"""What the detector may read too low on noise and tones up to 22 kHz: the limiter aims this much lower, dB."""

_ATTACK = np.array([1.0, 2.0, 3.0, 2.0, 1.0]) / 9.0  # LOOKAHEAD taps, their sum 1
_BETWEEN: Samples = np.arange(BLOCK, dtype=np.float32) / np.float32(BLOCK)


class Limiter:
    """Keep the true peak of a stream below a ceiling. Output and input have the same length and are aligned.

    Args:
        ceiling_dbtp: The ceiling, dBTP.
        sample_rate: The stream's rate, Hz.
    """

    def __init__(self, ceiling_dbtp: float = -1.0, *, sample_rate: int = SAMPLE_RATE) -> None:
        self._ceiling = db_to_gain(ceiling_dbtp - MARGIN_DB)
        self._release_db = RELEASE_DB_S * BLOCK / sample_rate
        self._start()

    def _start(self) -> None:
        self._audio = np.zeros(REACH, np.float32)  # from REACH before the first sample not yet returned
        # dB for each known block, from LOOKAHEAD before the first not yet returned; None where all of them are 0
        self._reduction: NDArray[np.float64] | None = None

    @property
    def idle(self) -> bool:
        """Whether no reduction is under way."""
        return self._reduction is None

    def push(self, chunk: Samples) -> Samples:
        """Take the next samples, shape (n,), float32; return those that are ready, fewer than 168 behind."""
        before = _known(self._audio)
        self._audio = np.concatenate((self._audio, chunk))
        known = _known(self._audio)
        ready = max(0, known - 2 * LOOKAHEAD)
        samples = self._audio[REACH : REACH + ready * BLOCK]
        if known > before and not (self.idle and self._quiet()):
            reduction = np.zeros(before) if self._reduction is None else self._reduction
            reduction = np.concatenate((reduction, self._let_go(self._wanted(before), reduction[-1])))
            if ready and reduction.any():
                samples = samples * _gains(reduction)
            self._reduction = reduction[ready:] if reduction[ready:].any() else None
        self._audio = self._audio[ready * BLOCK :].copy()
        return samples

    def finish(self) -> Samples:
        """Return what was held back; the next push starts a new stream."""
        left = len(self._audio) - REACH
        rest = self.push(np.zeros(DELAY, np.float32))[:left]
        self._start()
        return rest

    def _quiet(self) -> bool:
        """Whether no value between the samples at hand can reach the ceiling."""
        return bool(max(self._audio.max(), -self._audio.min()) * l1_norm() <= self._ceiling)

    def _wanted(self, before: int) -> NDArray[np.float64]:
        """Find by how many dB each new block must come down."""
        start = (before - LOOKAHEAD) * BLOCK
        count = _known(self._audio) - before
        peaks = block_peaks(self._audio[start : start + count * BLOCK + 2 * REACH], self._ceiling)
        return np.asarray(20.0 * np.log10(np.maximum(peaks.astype(np.float64) / self._ceiling, 1.0)))

    def _let_go(self, wanted: NDArray[np.float64], last: float) -> NDArray[np.float64]:
        """Let a reduction fall no faster than the release: r[k] = max(wanted[k], r[k-1] - step), for all k at once."""
        fall = self._release_db * np.arange(len(wanted) + 1)
        return np.asarray(np.maximum.accumulate(np.concatenate(([last], wanted)) + fall) - fall)[1:]


def _known(audio: Samples) -> int:
    """Count the blocks whose reduction can be known: LOOKAHEAD old ones, and those whose reach is in `audio`."""
    return LOOKAHEAD + max(0, (len(audio) - 2 * REACH) // BLOCK)


def _gains(reduction: NDArray[np.float64]) -> Samples:
    """Make the gain of each sample in all blocks but the first and the last LOOKAHEAD; shape (n,).

    With h[k] the largest reduction in blocks k-1 … k+L-1, and the attack filter over h[k-L+1 … k], the reduction at the
    edge before block k is a mean of values none of which is below the reduction of block k-1 or of block k. A straight
    line between two edges therefore satisfies the block between them.
    """
    ahead = np.max([reduction[i : len(reduction) - LOOKAHEAD + i] for i in range(LOOKAHEAD + 1)], axis=0)
    edges = np.convolve(ahead, _ATTACK, mode="valid")
    gains: Samples = np.exp(edges * (-math.log(10.0) / 20.0)).astype(np.float32)[:, np.newaxis]
    return (gains[:-1] + (gains[1:] - gains[:-1]) * _BETWEEN).ravel()
