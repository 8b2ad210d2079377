"""Loudness: how loud audio is (ITU-R BS.1770) and what brings it to a target.

This file decides how speech is measured in one go: for a voice's calibration, and for whole files. Streams are
levelled by a fixed gain from a calibration (`ttsw.audio.gain`) or, until there is one, by `ttsw.audio.adaptive`; a
frame of 20 ms has no loudness. Nothing here limits peaks: that is `ttsw.audio.limiter`'s.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from ttsw.audio.gain import FixedGain
from ttsw.audio.limiter import Limiter
from ttsw.audio.resample import resample
from ttsw.types import Samples
from ttsw.units import SAMPLE_RATE

if TYPE_CHECKING:
    from pyloudnorm import Meter

TARGET_LUFS = -16.0
"""The usual target for speech in streaming, LUFS."""

BLOCK_S = 0.4
"""Length of a gating block, s."""

HOP_S = 0.1
"""From one gating block to the next, s."""

MIN_SPEECH_S = 3.0
"""Speech that a calibration needs, s: with less, the choice of words moves the measure by more than 1 LU."""

_SHORTEST_S = 0.1
_ABSOLUTE_GATE_LUFS = -70.0
_RELATIVE_GATE = 0.1  # of the mean energy: -10 LU


TRIAL_LUFS = (-24.0, -21.0, -18.0, -15.0, -12.0, -9.0)
"""Levels at which a calibration tries what the limiter lets through, LUFS before the limiter."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a voice's own speech measures, and what becomes of it in the limiter.

    A voice with sparse, high peaks loses loudness to the limiter: joe, at -16 LUFS, 1.3 LU. So the gain isn't just the
    difference to the target.

    Args:
        lufs: Integrated loudness, LUFS.
        speech_s: Speech it was measured on, pauses not counted, s.
        limited_lufs: Loudness behind the limiter when it is `TRIAL_LUFS` before it; empty where nobody has tried.
    """

    lufs: float
    speech_s: float
    limited_lufs: tuple[float, ...] = ()

    def gain(self, target_lufs: float = TARGET_LUFS) -> FixedGain:
        """Build the fixed gain that brings this voice to `target_lufs` behind the limiter.

        Beyond the last trial it stays there: more gain would only crush the voice.
        """
        before = target_lufs
        if self.limited_lufs and target_lufs > self.limited_lufs[0]:
            before = float(np.interp(target_lufs, self.limited_lufs, TRIAL_LUFS))
        return FixedGain.between(self.lufs, before)


def normalize_rms(audio: Samples, target_rms: float = 0.1) -> Samples:
    """Scale audio to a root mean square, pauses counted; silence stays silence.

    >>> normalize_rms(np.array([0.5, -0.5], np.float32), target_rms=0.25)
    array([ 0.25, -0.25], dtype=float32)

    Args:
        audio: Shape (n,), full scale at ±1.
        target_rms: Linear, above 0; 0.1 is -20 dBFS. Peaks may then exceed full scale.
    """
    rms = math.sqrt(float(np.mean(np.square(audio, dtype=np.float64)))) if audio.size else 0.0
    return audio * np.float32(target_rms / rms) if rms > 1e-9 else audio


def normalize_lufs(audio: Samples, target_lufs: float = TARGET_LUFS, *, sample_rate: int = SAMPLE_RATE) -> Samples:
    """Scale audio to a loudness; what has none (`measure_lufs` gives -inf) stays as it is.

    >>> tone = 0.05 * np.sin(np.arange(48_000) * (2 * np.pi * 997 / 48_000))
    >>> round(measure_lufs(normalize_lufs(tone, -16.0), 48_000), 3)
    -16.0

    Args:
        audio: Shape (n,), full scale at ±1.
        target_lufs: Integrated loudness of the result, LUFS. Peaks may then exceed full scale.
        sample_rate: Rate of `audio`, Hz.
    """
    lufs = measure_lufs(audio, sample_rate)
    return FixedGain.between(lufs, target_lufs).apply(audio) if math.isfinite(lufs) else audio


def measure_lufs(audio: Samples, rate: int) -> float:
    """Measure integrated loudness after ITU-R BS.1770-4, with the gates of its annex 1.

    Audio below 400 ms, which the standard leaves open, is one block of its own length.

    Args:
        audio: Shape (n,), full scale at ±1.
        rate: Rate of `audio`, Hz.

    Returns:
        LUFS; -inf where there is nothing to measure: silence (all blocks below -70 LUFS), or less than 100 ms.
    """
    return gated_lufs(_block_energies(audio, rate))[0]


def calibrate(audio: Samples, rate: int) -> Calibration | None:
    """Measure a voice on its own speech; takes about 0.1 s for each second of it, once for a voice.

    Args:
        audio: Speech, shape (n,), full scale at ±1; several sentences of usual text, 5 s or more.
        rate: Rate of `audio`, Hz.

    Returns:
        The calibration, or None where fewer than 3 s of `audio` are speech.
    """
    lufs, blocks = gated_lufs(_block_energies(audio, rate))
    if blocks * HOP_S < MIN_SPEECH_S:
        return None
    heard = resample(audio, source_rate=rate)
    limited = tuple(_behind_limiter(heard, FixedGain.between(lufs, trial)) for trial in TRIAL_LUFS)
    return Calibration(lufs, blocks * HOP_S, limited)


def gated_lufs(energies: NDArray[np.float64]) -> tuple[float, int]:
    """Gate block energies and average what remains (BS.1770-4 annex 1, equations 5 to 7).

    Args:
        energies: K-weighted mean squares of the blocks, shape (n,).

    Returns:
        The loudness, LUFS, and the number of blocks that passed both gates; -inf and 0 where none did.
    """
    heard = energies[energies > from_lufs(_ABSOLUTE_GATE_LUFS)]
    if not heard.size:
        return -math.inf, 0
    speech = heard[heard > heard.mean() * _RELATIVE_GATE]
    return to_lufs(float(speech.mean())), int(speech.size)


def to_lufs(energy: float) -> float:
    """Turn a K-weighted mean square above 0 into LUFS."""
    return -0.691 + 10.0 * math.log10(energy)


def from_lufs(lufs: float) -> float:
    """Turn LUFS into a K-weighted mean square."""
    return float(10.0 ** ((lufs + 0.691) / 10.0))


def load_meter() -> "type[Meter]":
    """Import what measuring needs: it brings scipy.signal, most of a second that only a calibration is worth."""
    from pyloudnorm import Meter  # noqa: PLC0415 - as just said

    return cast("type[Meter]", Meter)


def _behind_limiter(audio: Samples, gain: FixedGain) -> float:
    limiter = Limiter()
    louder = gain.apply(audio)
    return measure_lufs(np.concatenate((limiter.push(louder), limiter.finish())), SAMPLE_RATE)


def _block_energies(audio: Samples, rate: int) -> NDArray[np.float64]:
    if len(audio) < _SHORTEST_S * rate:
        return np.empty(0)
    meter = load_meter()(
        rate, filter_class="DeMan", block_size=min(BLOCK_S, len(audio) / rate)
    )  # BS.1770's own coefficients
    meter.integrated_loudness(np.asarray(audio, np.float64))
    return np.asarray([from_lufs(lufs) for lufs in meter.blockwise_loudness])
