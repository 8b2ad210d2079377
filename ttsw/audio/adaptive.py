"""Adaptive gain: a voice that nobody has calibrated finds its level while it speaks.

This file decides how. The stream is K-weighted by two biquads with their state kept, its energy taken every 100 ms,
and the last 30 s of 400 ms blocks are gated as BS.1770 gates a programme. The measure is blended with a prior, in LU,
which counts as much as one second of speech; the gain follows the result at 3 dB/s at most, and only while there is
speech: no step, no pumping in a pause. It looks at the past only, so it adds no delay.
"""

import collections
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ttsw.audio.loudness import BLOCK_S, HOP_S, MIN_SPEECH_S, TARGET_LUFS, Calibration, from_lufs, gated_lufs
from ttsw.types import Samples
from ttsw.units import db_to_gain

PRIOR_LUFS = -23.0
"""What a voice is taken for before it has spoken, LUFS: engines without normalisation lie between -27 and -19."""

_PRIOR_BLOCKS = 10
_WINDOW_BLOCKS = 300
_SLEW_DB = 3.0 * HOP_S
_RANGE_DB = 24.0
_GATE_LU = 10.0
_HOPS = round(BLOCK_S / HOP_S)


class AdaptiveGain:
    """Bring a stream to a loudness without knowing it beforehand.

    It may outlive a chain: give the same one to a voice's next utterance and it goes on where it was. Not for two
    streams at once.

    Args:
        sample_rate: The stream's rate, Hz.
        target_lufs: Where to bring it, LUFS.
        prior_lufs: What the voice is taken for at first, LUFS.
    """

    def __init__(self, sample_rate: int, target_lufs: float = TARGET_LUFS, *, prior_lufs: float = PRIOR_LUFS) -> None:
        self._weighting = KWeighting(sample_rate)
        self._target, self._prior = target_lufs, prior_lufs
        self._hop = round(sample_rate * HOP_S)
        self._fill = 0  # samples of the present hop
        self._energy = 0.0  # their sum of squares
        self._hops: collections.deque[float] = collections.deque(maxlen=_HOPS)
        self._blocks: collections.deque[float] = collections.deque(maxlen=_WINDOW_BLOCKS)
        self._lufs = prior_lufs
        self._from_db = self._to_db = self._aim()

    @property
    def gain_db(self) -> float:
        """The gain at the end of the present 100 ms, dB."""
        return self._to_db

    @property
    def calibration(self) -> Calibration | None:
        """What was measured so far, once it is 3 s of speech: enough to go over to a fixed gain."""
        lufs, blocks = gated_lufs(np.asarray(self._blocks))
        return Calibration(lufs, blocks * HOP_S) if blocks * HOP_S >= MIN_SPEECH_S else None

    def apply(self, chunk: Samples) -> Samples:
        """Return the chunk, shape (n,), float32, at its new level."""
        weighted = self._weighting.apply(chunk)
        levelled = np.empty_like(chunk)
        for part in self._parts(len(chunk)):
            levelled[part] = chunk[part] * self._ramp(part.stop - part.start)
            self._hear(weighted[part])
        return levelled

    def _parts(self, length: int) -> Iterator[slice]:
        """Cut a chunk where hops end, which is the same places however the stream is cut into chunks."""
        start = 0
        while start < length:
            stop = min(length, start + self._hop - self._fill)
            yield slice(start, stop)
            start = stop

    def _ramp(self, length: int) -> Samples:
        first, last = db_to_gain(self._from_db), db_to_gain(self._to_db)
        steps = np.arange(self._fill, self._fill + length, dtype=np.float32)
        return steps * np.float32((last - first) / self._hop) + np.float32(first)

    def _hear(self, weighted: NDArray[np.float64]) -> None:
        self._energy += float(np.dot(weighted, weighted))
        self._fill += len(weighted)
        if self._fill == self._hop:
            self._hops.append(self._energy / self._hop)
            self._fill, self._energy = 0, 0.0
            self._end_hop()

    def _end_hop(self) -> None:
        self._from_db = self._to_db
        if len(self._hops) < _HOPS:
            return
        block = math.fsum(self._hops) / _HOPS
        self._blocks.append(block)
        lufs, count = gated_lufs(np.asarray(self._blocks))
        if count and block > from_lufs(lufs - _GATE_LU):
            self._lufs = self._prior + (lufs - self._prior) * count / (count + _PRIOR_BLOCKS)
            self._to_db += min(_SLEW_DB, max(-_SLEW_DB, self._aim() - self._to_db))

    def _aim(self) -> float:
        return min(_RANGE_DB, max(-_RANGE_DB, self._target - self._lufs))


class KWeighting:
    """The K-weighting of BS.1770 for a stream.

    Args:
        sample_rate: The stream's rate, Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self._sections = k_weighting(sample_rate)
        self._state = np.zeros((2, 2))
        self._sosfilt = _sosfilt()

    def apply(self, chunk: Samples) -> NDArray[np.float64]:
        """Filter the next samples, shape (n,); the result has the same length."""
        if not len(chunk):
            return np.empty(0)
        weighted, self._state = self._sosfilt(self._sections, chunk.astype(np.float64), zi=self._state)
        return np.asarray(weighted)


def _sosfilt() -> Callable[..., Any]:
    # 0.8 s to import, which a calibrated worker never needs.
    from scipy.signal import sosfilt  # type: ignore[import-untyped]  # noqa: PLC0415

    return cast("Callable[..., Any]", sosfilt)


@functools.cache
def k_weighting(sample_rate: int) -> NDArray[np.float64]:
    """Make the two biquads of BS.1770's K-weighting for any rate, as second-order sections, shape (2, 6).

    The standard prints coefficients for 48 kHz only. Their analogue parameters are those that B. De Man recovered
    ("Evaluation of implementations of the EBU R128 loudness measurement", 145th AES Convention, 2018).
    """
    shelf_gain = db_to_gain(3.999843853973347)
    shelf_mid = shelf_gain**0.4996667741545416
    k, damping = _prewarp(sample_rate, 1681.974450955533, 0.7071752369554196)
    scale = 1.0 + damping + k * k
    shelf = [
        shelf_gain + shelf_mid * damping + k * k,
        2.0 * (k * k - shelf_gain),
        shelf_gain - shelf_mid * damping + k * k,
    ]
    poles = [scale, 2.0 * (k * k - 1.0), 1.0 - damping + k * k]
    high_shelf = [value / scale for value in (*shelf, *poles)]
    k, damping = _prewarp(sample_rate, 38.13547087602444, 0.5003270373238773)
    scale = 1.0 + damping + k * k
    high_pass = [1.0, -2.0, 1.0, 1.0, 2.0 * (k * k - 1.0) / scale, (1.0 - damping + k * k) / scale]
    return np.array([high_shelf, high_pass])


def _prewarp(sample_rate: int, frequency_hz: float, q: float) -> tuple[float, float]:
    k = math.tan(math.pi * frequency_hz / sample_rate)
    return k, k / q
