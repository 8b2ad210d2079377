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

DELAY = LOOKAHEAD * BLOCK + BLOCK + REACH
"""Samples held back at most: 160, or 3.3 ms at 48 kHz."""

RELEASE_DB_S = 100.0
"""How fast a reduction is let go, dB/s: 6 dB in 60 ms."""

MARGIN_DB = 0.2
"""What four times oversampling may read too low on hot, bright material: the limiter aims this much lower, dB."""

_ATTACK = np.array([1.0, 2.0, 3.0, 2.0, 1.0]) / 9.0  # LOOKAHEAD taps, their sum 1
_BETWEEN = (np.arange(BLOCK, dtype=np.float32) / BLOCK)[None, :]


class Limiter:
    """Keep the true peak of a stream below a ceiling. Output and input have the same length and are aligned.

    Args:
        ceiling_dbtp: The ceiling, dBTP.
        sample_rate: The stream's rate, Hz.
    """

    def __init__(self, ceiling_dbtp: float = -1.0, *, sample_rate: int = SAMPLE_RATE) -> None:
        self._ceiling = db_to_gain(ceiling_dbtp - MARGIN_DB)
        self._release_db = RELEASE_DB_S * BLOCK / sample_rate
        self._audio = np.zeros(REACH, np.float32)  # from REACH before the first sample not yet returned
        self._reduction = np.zeros(LOOKAHEAD)  # dB a block, from LOOKAHEAD before the first block not yet returned

    @property
    def idle(self) -> bool:
        """Whether no reduction is under way."""
        return not self._reduction.any()

    def push(self, chunk: Samples) -> Samples:
        """Take the next samples, shape (n,), float32; return those that are ready, at most 160 behind."""
        self._audio = np.concatenate((self._audio, chunk))
        self._analyse()
        return self._emit()

    def finish(self) -> Samples:
        """Return what was held back; the next push starts a new stream."""
        left = len(self._audio) - REACH
        rest = self.push(np.zeros(DELAY, np.float32))[:left]
        self._audio, self._reduction = np.zeros(REACH, np.float32), np.zeros(LOOKAHEAD)
        return rest

    def _analyse(self) -> None:
        """Find the reduction of every block whose reach has arrived."""
        start = (len(self._reduction) - LOOKAHEAD) * BLOCK
        count = (len(self._audio) - start - 2 * REACH) // BLOCK
        if count <= 0:
            return
        wanted = np.zeros(count)
        fresh = self._audio[start : start + count * BLOCK + 2 * REACH]
        if max(fresh.max(), -fresh.min()) * l1_norm() > self._ceiling:
            peaks = block_peaks(fresh, self._ceiling)
            wanted = 20.0 * np.log10(np.maximum(peaks / self._ceiling, 1.0))
        self._reduction = np.concatenate((self._reduction, self._let_go(wanted)))

    def _let_go(self, wanted: NDArray[np.float64]) -> NDArray[np.float64]:
        """Let a reduction fall no faster than the release: r[k] = max(wanted[k], r[k-1] - step), for all k at once."""
        last = self._reduction[-1]
        if not last and not wanted.any():
            return wanted
        fall = self._release_db * np.arange(len(wanted) + 1)
        return np.asarray(np.maximum.accumulate(np.concatenate(([last], wanted)) + fall) - fall)[1:]

    def _emit(self) -> Samples:
        """Return every block whose look-ahead is known, at its gain."""
        count = len(self._reduction) - 2 * LOOKAHEAD
        if count <= 0:
            return np.empty(0, np.float32)
        end = REACH + count * BLOCK
        ready = self._audio[REACH:end]
        if not self.idle:
            ready = ready * self._gains().ravel()
        self._audio = self._audio[end - REACH :].copy()
        self._reduction = self._reduction[count:].copy()
        return ready

    def _gains(self) -> Samples:
        """Make the gain of each sample, a row a block.

        With h[k] the largest reduction in blocks k-1 … k+L-1, and the attack filter over h[k-L+1 … k], the reduction at
        the edge before block k is a mean of values none of which is below the reduction of block k-1 or of block k. A
        straight line between two edges therefore satisfies the block between them.
        """
        ahead = np.lib.stride_tricks.sliding_window_view(self._reduction, LOOKAHEAD + 1).max(axis=1)
        edges = np.convolve(ahead, _ATTACK, mode="valid")
        gains = np.exp(edges * (-math.log(10.0) / 20.0)).astype(np.float32)[:, np.newaxis]
        return np.asarray(gains[:-1] + (gains[1:] - gains[:-1]) * _BETWEEN)
