"""Reference recordings: which ones a voice can be cloned from, with a specific error for each defect.

The requirements are the same for all families. Resampling and trimming are up to each adapter. `soundfile` is imported
only when a recording is read.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ttsw.errors import InvalidArgumentError
from ttsw.system.machine import explain_fault
from ttsw.types import Samples
from ttsw.units import db_to_gain

LEAST_S, MOST_S = 1.0, 60.0
LEAST_RATE = 16_000
MOST_CHANNELS = 2

SILENCE_DBFS = -50.0
"""Peak level below which a recording counts as silent, dBFS."""

COARSE = ("PCM_S8", "PCM_U8", "ULAW", "ALAW", "ADPCM", "DPCM_8", "DWVW_12", "GSM610", "G721", "G723")
"""Encodings with fewer than 16 bits per sample, as parts of soundfile's names for them."""


@dataclass(frozen=True, slots=True)
class ReferenceClip:
    """A recording that a voice can be cloned from.

    Args:
        samples: Mono audio, shape (n,), float32, full scale ±1.
        rate: Its sample rate, Hz.
    """

    samples: Samples
    rate: int


def read_clip(path: Path) -> ReferenceClip:
    """Read a recording, check it, and mix it down to mono.

    Args:
        path: A file in any format that soundfile reads.

    Raises:
        InvalidArgumentError: No voice can be cloned from it; the message says why, and what to use instead.
        UnavailableError: The system denies access to it.
    """
    import soundfile  # noqa: PLC0415 - what only names this module needs no audio library

    try:
        with soundfile.SoundFile(path) as file:
            _check_format(path, file.subtype, file.channels)
            _check_rate(path, file.samplerate)
            _check_duration(path, file.frames / file.samplerate)
            channels, rate = file.read(dtype="float32", always_2d=True), int(file.samplerate)
    except (soundfile.SoundFileError, OSError) as error:
        if fault := explain_fault(f"{path} cannot be read", error):
            raise fault from error
        raise InvalidArgumentError(f"{path} is not audio that can be read: {error}") from error
    clip = ReferenceClip(np.ascontiguousarray(channels.mean(axis=1)), rate)
    check(clip, path)
    return clip


def check(clip: ReferenceClip, path: Path) -> None:
    """Check a recording's sample rate, duration and level.

    Args:
        clip: The recording.
        path: Its file, for the error.

    Raises:
        InvalidArgumentError: No voice can be cloned from it.
    """
    _check_rate(path, clip.rate)
    _check_duration(path, len(clip.samples) / clip.rate)
    if not np.isfinite(clip.samples).all():
        raise InvalidArgumentError(f"{path} holds samples that are not finite numbers; record or convert it anew")
    if np.abs(clip.samples).max() < db_to_gain(SILENCE_DBFS):
        raise InvalidArgumentError(f"{path} is silent: no sample reaches {SILENCE_DBFS:g} dBFS")


def _check_format(path: Path, subtype: str, channels: int) -> None:
    if any(coarse in subtype for coarse in COARSE):
        raise InvalidArgumentError(f"{path} has fewer than 16 bits a sample ({subtype}); use 16 bits or more")
    if channels > MOST_CHANNELS:
        raise InvalidArgumentError(f"{path} has {channels} channels; use a recording with 1 or 2")


def _check_rate(path: Path, rate: int) -> None:
    if rate < LEAST_RATE:
        raise InvalidArgumentError(f"{path} has a rate of {rate} Hz; use {LEAST_RATE} Hz or more")


def _check_duration(path: Path, seconds: float) -> None:
    if seconds < LEAST_S:
        raise InvalidArgumentError(f"{path} lasts {seconds:.2f} s, which is too short; use 6 to 30 s of clear speech")
    if seconds > MOST_S:
        raise InvalidArgumentError(f"{path} lasts {seconds:.0f} s, which is too long; use 6 to 30 s of clear speech")
