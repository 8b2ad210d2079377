"""Registered reference recordings (clips), for families that clone a voice from a recording.

A clip is a WAV file in the user's data folder, mono, 24 bits, at its original rate, with its transcript, if known, in a
text file beside it. Sessions name it (`reference_audio=NAME`). `ttsw.adapters.reference_clip` decides which recordings
are acceptable; `RegisteredClip.cautions` names shortcomings of acceptable ones.
"""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile

from ttsw.config.folders import data_dir
from ttsw.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError, TtswError, UnavailableError
from ttsw.types import Samples

NAME = r"[a-z0-9][a-z0-9-]{0,63}"

SHORT_S = 6.0
QUIET_DBFS = -35.0
LOW_HZ = 22_050
FULL_SCALE = 0.999
"""Level at which a recording counts as clipped if three samples in a row reach it."""


@dataclass(frozen=True)
class RegisteredClip:
    """A registered recording.

    Args:
        name: Its name.
        path: Its file.
        seconds: Its duration, seconds.
        rate: Its sample rate, Hz.
        rms_dbfs: Its level, dBFS RMS; -200 for silence.
        clipped: Whether it is clipped.
        date: When it was registered.
        transcript: The words spoken in it; empty if unknown.
    """

    name: str
    path: Path
    seconds: float
    rate: int
    rms_dbfs: float
    clipped: bool
    date: datetime
    transcript: str = ""

    def cautions(self) -> tuple[str, ...]:
        """Shortcomings that reduce the quality of a clone."""
        found = {
            f"it lasts {self.seconds:.1f} s; a voice is caught better in {SHORT_S:g} s or more": self.seconds < SHORT_S,
            "it is clipped; record it at a lower level": self.clipped,
            f"it is quiet ({self.rms_dbfs:.0f} dBFS RMS); record it closer, or louder": self.rms_dbfs < QUIET_DBFS,
            f"its rate is {self.rate} Hz; {LOW_HZ} Hz or more keep the voice's brightness": self.rate < LOW_HZ,
        }
        return tuple(text for text, holds in found.items() if holds)


def clips_dir(environ: Mapping[str, str]) -> Path:
    """Return the folder of clips.

    >>> clips_dir({"XDG_DATA_HOME": "/data"}).as_posix()
    '/data/ttsw/clips'
    """
    return data_dir(environ) / "clips"


def add_clip(
    folder: Path, name: str, samples: Samples, rate: int, transcript: str = "", *, replace: bool = False
) -> RegisteredClip:
    """Register a recording, atomically.

    Args:
        folder: The folder of clips.
        name: Its name.
        samples: The recording.
        rate: Its sample rate, Hz.
        transcript: The words spoken in it; empty if unknown.
        replace: Whether to replace a clip with the same name.

    Raises:
        InvalidArgumentError: The name isn't valid.
        AlreadyExistsError: A clip with this name exists.
        UnavailableError: The clip can't be written.
    """
    path = place(folder, name)
    if path.exists() and not replace:
        raise AlreadyExistsError(f"there is a clip {name!r}; choose another name, or replace it with --replace")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".adding-", dir=folder) as temporary:
            whole = Path(temporary, path.name)
            soundfile.write(whole, samples, rate, "PCM_24")
            with whole.open("rb+") as file:
                os.fsync(file.fileno())
            said = Path(temporary, "said.txt")
            said.write_text(transcript, "utf-8")
            # in this order, so that no recording is ever paired with another's transcript
            path.with_suffix(".txt").unlink(missing_ok=True)
            whole.replace(path)
            if transcript:
                said.replace(path.with_suffix(".txt"))
    except (OSError, soundfile.SoundFileError) as error:
        raise UnavailableError(f"{path} cannot be written: {error}") from error
    return read(path)


def place(folder: Path, name: str) -> Path:
    """Return the path of a clip, whether it exists or not.

    Raises:
        InvalidArgumentError: The name isn't valid.
    """
    if not re.fullmatch(NAME, name):
        raise InvalidArgumentError(
            f"{name!r} is no name for a clip: it must be of lower-case letters, digits and hyphens, begin with no "
            f"hyphen and have at most 64 of them, for example anna-2"
        )
    return folder / f"{name}.wav"


def find_clips(folder: Path) -> tuple[tuple[RegisteredClip, ...], Mapping[str, str]]:
    """Read all clips; return the readable ones by name, and the faults of the others."""
    clips, faults = [], {}
    for path in sorted(folder.glob("*.wav")):
        try:
            place(folder, path.stem)
            clips.append(read(path))
        except TtswError as error:
            faults[path.stem] = str(error)
    return tuple(clips), faults


def remove_clip(folder: Path, name: str) -> None:
    """Remove a clip.

    Raises:
        NotFoundError: No clip has this name; the message lists the existing ones.
        UnavailableError: It can't be removed.
    """
    known = {path.stem: path for path in sorted(folder.glob("*.wav"))}
    if name not in known:
        raise NotFoundError(f"no clip {name!r}; there are: {', '.join(known) or 'none'}")
    try:
        known[name].unlink()
        known[name].with_suffix(".txt").unlink(missing_ok=True)
    except OSError as error:
        raise UnavailableError(f"the clip {name!r} cannot be removed: {error.strerror}") from error


def read(path: Path) -> RegisteredClip:
    """Read and measure a clip's file.

    Raises:
        UnavailableError: It can't be read.
    """
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        date = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except (OSError, soundfile.SoundFileError) as error:
        raise UnavailableError(f"the clip {path} cannot be read: {error}") from error
    mono = samples.mean(axis=1)
    return RegisteredClip(
        path.stem, path, len(mono) / rate, rate, _rms_dbfs(mono), _clipped(mono), date, _read_transcript(path)
    )


def _read_transcript(path: Path) -> str:
    try:
        return path.with_suffix(".txt").read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _rms_dbfs(samples: Samples) -> float:
    power = float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
    return 10 * math.log10(max(power, 1e-20))


def _clipped(samples: Samples) -> bool:
    full = np.abs(samples) >= FULL_SCALE
    return bool((full[2:] & full[1:-1] & full[:-2]).any())
