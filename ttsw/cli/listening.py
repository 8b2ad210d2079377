"""What a listener notices: when audio came, whether it would have run dry, how loud it was; and where it is kept."""

import os
import struct
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np

from ttsw.audio import measure_lufs
from ttsw.errors import InvalidArgumentError, UnavailableError
from ttsw.units import FRAME_S, SAMPLE_RATE

MEASURED_S = 600.0
"""Audio that loudness is measured on, at most, s."""


class Listener:
    """Hears frames as they come, as a player without a jitter buffer would.

    Args:
        clock: Gives the time, s.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._asked_at = clock()
        self._plays_until: float | None = None
        self._pcm: list[bytes] = []
        self.frames = 0
        self.first_s: float | None = None
        self.took_s = 0.0
        self.underruns = 0
        self.largest_gap_s = 0.0

    @property
    def audio_s(self) -> float:
        """Audio heard so far, s."""
        return self.frames * FRAME_S

    def hear(self, pcm: bytes) -> None:
        """Take a frame; an empty one says that the text is handed over now."""
        now = self._clock()
        if not pcm:
            if not self.frames:
                self._asked_at = now
            return
        if self._plays_until is None:
            self.first_s = now - self._asked_at
        elif now - self._plays_until > 1e-9:  # sums of 0.02 are off by less
            self.underruns += 1
            self.largest_gap_s = max(self.largest_gap_s, now - self._plays_until)
        self._plays_until = max(now, self._plays_until or 0.0) + FRAME_S
        self.took_s = now - self._asked_at
        self.frames += 1
        if self.audio_s <= MEASURED_S:
            self._pcm.append(pcm)

    def summary(self, kept_in: str) -> str:
        """Tell it to a person, in one line."""
        if self.first_s is None:
            return "nothing in this text can be spoken; there is no audio"
        samples = np.frombuffer(b"".join(self._pcm), "<i2").astype(np.float32) / np.float32(32_768)
        gap = f" (largest {self.largest_gap_s * 1000:.0f} ms)" if self.underruns else ""
        return (
            f"{kept_in}: {self.audio_s:.2f} s of audio, first after {self.first_s * 1000:.0f} ms, all after "
            f"{self.took_s:.2f} s (RTF {self.took_s / self.audio_s:.3f}), {self.underruns} underruns{gap}, "
            f"{measure_lufs(samples, SAMPLE_RATE):.1f} LUFS"
        )


class Recorder:
    """Keeps audio as a WAV file: in a file, on stdout (`-`), or not at all (None).

    Raises:
        InvalidArgumentError: On entering, the file can't be written.
    """

    def __init__(self, target: str | None) -> None:
        self.name = {None: "not kept (-o FILE.wav keeps it)", "-": "stdout"}.get(target, target) or ""
        self._target = target
        self._raw: BinaryIO | None = None
        self._file: wave.Wave_write | None = None
        self._pipe: BinaryIO | None = None

    def __enter__(self) -> Self:
        if self._target == "-":
            self._pipe = sys.stdout.buffer
            self._pipe.write(endless_wav_header())
        elif self._target is not None:
            try:
                self._raw = os.fdopen(os.open(self._target, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
            except OSError as error:
                raise InvalidArgumentError(f"cannot write {self._target}: {error.strerror}") from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
        if self._raw is not None:
            empty = os.fstat(self._raw.fileno()).st_size == 0
            self._raw.close()
            if empty:  # it is there because we looked whether it may be
                Path(str(self._target)).unlink()

    def write(self, pcm: bytes) -> None:
        """Keep a frame. What a file held before is gone with the first, and not before there is one.

        Raises:
            UnavailableError: Whoever read stdout has left.
        """
        if self._raw is not None:
            self._file = self._file or _begin(self._raw)
            self._file.writeframes(pcm)
        if self._pipe is not None:
            try:
                self._pipe.write(pcm)
                self._pipe.flush()
            except BrokenPipeError as error:
                _forget(self._pipe)
                raise UnavailableError("whoever read the audio from stdout has left") from error


def _begin(raw: BinaryIO) -> wave.Wave_write:
    raw.truncate(0)
    file = wave.open(raw, "wb")  # noqa: SIM115 - the recorder closes it
    file.setnchannels(1)
    file.setsampwidth(2)
    file.setframerate(SAMPLE_RATE)
    return file


def _forget(pipe: BinaryIO) -> None:
    """Lead what is still buffered nowhere: Python flushes stdout when it exits, and would fail there once more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, pipe.fileno())
    os.close(nowhere)


def endless_wav_header() -> bytes:
    """The header of a WAV stream whose length nobody knows yet (RIFF sizes at their greatest)."""
    most = 0xFFFF_FFFF
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, SAMPLE_RATE, SAMPLE_RATE * 2, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", most, b"WAVE") + form + struct.pack("<4sI", b"data", most)
