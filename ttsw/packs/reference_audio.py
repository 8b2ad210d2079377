"""Reference recordings that a user has registered by name, for families that clone a voice from one.

A clip is a WAV file in the user's data folder, mono, 24 bits, at the rate that it came with; what is said in it, where
that is known, stands beside it in a text file. Sessions name it (`reference_audio=NAME`). What recordings are fit to be
one, `ttsw.adapters.reference_clip` says; what could be better about one that is, `RegisteredClip.cautions`.
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
"""A recording is clipped where it stays at this for three samples."""


@dataclass(frozen=True)
class RegisteredClip:
    """A registered recording.

    Args:
        name: Its name.
        path: Its file.
        seconds: Its duration, s.
        rate: Its sample rate, Hz.
        rms_dbfs: Its level, dBFS RMS; silence is -200.
        clipped: Whether it was recorded too loud.
        date: When it was registered.
        transcript: What is said in it; empty where that isn't known.
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
        """Say what could be better for a clone."""
        found = {
            f"it lasts {self.seconds:.1f} s; a voice is caught better in {SHORT_S:g} s or more": self.seconds < SHORT_S,
            "it is clipped; record it at a lower level": self.clipped,
            f"it is quiet ({self.rms_dbfs:.0f} dBFS RMS); record it closer, or louder": self.rms_dbfs < QUIET_DBFS,
            f"its rate is {self.rate} Hz; {LOW_HZ} Hz or more keep the voice's brightness": self.rate < LOW_HZ,
        }
        return tuple(text for text, holds in found.items() if holds)


def clips_dir(environ: Mapping[str, str]) -> Path:
    """Give the folder of clips.

    >>> clips_dir({"XDG_DATA_HOME": "/data"}).as_posix()
    '/data/ttsw/clips'
    """
    return data_dir(environ) / "clips"


def add_clip(
    folder: Path, name: str, samples: Samples, rate: int, transcript: str = "", *, replace: bool = False
) -> RegisteredClip:
    """Register a recording, all at once or not at all.

    Args:
        folder: The folder of clips.
        name: Its name.
        samples: The recording.
        rate: Its sample rate, Hz.
        transcript: What is said in it; empty if that isn't known.
        replace: Put it in the place of a clip of that name.

    Raises:
        InvalidArgumentError: The name can't be one.
        AlreadyExistsError: There is a clip of that name.
        UnavailableError: It can't be written.
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
            # in this order, so that no recording ever stands beside another's words
            path.with_suffix(".txt").unlink(missing_ok=True)
            whole.replace(path)
            if transcript:
                said.replace(path.with_suffix(".txt"))
    except (OSError, soundfile.SoundFileError) as error:
        raise UnavailableError(f"{path} cannot be written: {error}") from error
    return read(path)


def place(folder: Path, name: str) -> Path:
    """Give the file of a name, whether it is there or not.

    Raises:
        InvalidArgumentError: The name can't be one.
    """
    if not re.fullmatch(NAME, name):
        raise InvalidArgumentError(
            f"{name!r} is no name for a clip: it must be of lower-case letters, digits and hyphens, begin with no "
            f"hyphen and have at most 64 of them, for example anna-2"
        )
    return folder / f"{name}.wav"


def find_clips(folder: Path) -> tuple[tuple[RegisteredClip, ...], Mapping[str, str]]:
    """Read all clips: those that are whole, by name, and the faults of the others."""
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
        NotFoundError: There is none of that name; the message lists those that exist.
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
    """Read a clip's file, and measure it.

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
