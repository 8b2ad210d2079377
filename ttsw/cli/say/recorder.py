"""Where audio is kept: as a WAV file, on stdout, or nowhere.

Decides that a file is replaced by a whole one, or not at all.
"""

import os
import secrets
import stat
import struct
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from ttsw.cli.ui.streams import NoReaderError, reason
from ttsw.errors import InvalidArgumentError, TtswError, UnavailableError
from ttsw.units import SAMPLE_RATE

MOST = 0xFFFF_FFFF
"""Largest size that a WAV header can tell, bytes; a stream whose length nobody knows yet has it, too."""


def wav_header(size: int = MOST) -> bytes:
    """Make the header of a WAV file with `size` bytes of 48 kHz mono 16-bit PCM; of a stream if none is given."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, SAMPLE_RATE, SAMPLE_RATE * 2, 2, 16)
    riff = struct.pack("<4sI4s", b"RIFF", min(size + 36, MOST), b"WAVE")
    return riff + form + struct.pack("<4sI", b"data", min(size, MOST))


class Recorder:
    """Keeps audio: in a WAV file, on stdout (`-`), or not at all (None).

    A file is written under another name beside it, and takes its name when the block ends without an error and there
    was audio. Until then, and in every other case, an earlier file of that name stays as it was. A device or a pipe is
    written to as it is.

    Args:
        target: Where to keep it.

    Raises:
        InvalidArgumentError: No WAV can be written there: the name is another format's, or stdout is a terminal.
    """

    def __init__(self, target: str | None) -> None:
        self.name = {None: "not kept (-o FILE.wav keeps it)", "-": "stdout"}.get(target, target) or ""
        self._target = None if target in {None, "-"} else Path(str(target))
        self._to_stdout = target == "-"
        self._file: BinaryIO | None = None
        self._size = 0
        self._part: Path | None = None
        if self._to_stdout and sys.stdout.isatty():
            raise InvalidArgumentError("-o - would write audio to a terminal; lead it into a file or a program")
        if self._target is not None and not _is_special(self._target):
            _check_name(self._target)

    def __enter__(self) -> Self:
        """Open what is written to.

        Raises:
            InvalidArgumentError: It can't be.
            UnavailableError: It takes nothing.
        """
        try:
            self._begin()
        except BaseException:  # also a Ctrl-C just after the file was made
            self._leave()
            raise
        return self

    def _begin(self) -> None:
        if self._to_stdout:
            self._file = sys.stdout.buffer
        elif self._target is not None:
            try:
                self._file = self._open(self._target)
            except OSError as error:
                raise InvalidArgumentError(f"cannot write {self.name}: {reason(error)}") from error
        if self._file is not None:
            self._put(self._file, wav_header())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the file its name, where it is whole.

        Raises:
            UnavailableError: There is no room for it, or its name can't be had.
        """
        if self._target is None or self._file is None:
            return
        try:
            if error is None:
                self._finish(self._file)
        except OSError as fault:
            raise self._cannot(fault) from fault
        finally:
            self._leave()

    def write(self, pcm: bytes) -> None:
        """Keep a frame.

        Raises:
            UnavailableError: There is no room for it, or whoever read it has left.
        """
        if self._file is not None and pcm:
            self._put(self._file, pcm)
            self._size += len(pcm)

    def _put(self, file: BinaryIO, data: bytes) -> None:
        try:
            file.write(data)
            if self._part is None:
                file.flush()
        except (BrokenPipeError, NoReaderError) as error:
            raise UnavailableError(f"whoever read the audio from {self.name} has left") from error
        except OSError as error:
            raise self._cannot(error) from error

    def _open(self, target: Path) -> BinaryIO:
        if _is_special(target):
            return os.fdopen(os.open(target, os.O_WRONLY | os.O_CLOEXEC), "wb")
        real = Path(os.path.realpath(target))  # a link stays a link
        mode = 0o666
        if real.exists():
            mode = stat.S_IMODE(real.stat().st_mode)
            _check_replaceable(real)
        part = real.with_name(f".{real.name[:200]}.{secrets.token_hex(4)}.part")
        self._part, self._target = part, real  # before it is there, so that an interrupt leaves none
        return os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb")

    def _finish(self, file: BinaryIO) -> None:
        """Write what is left; a file gets the header of its size, and its name."""
        if self._part is None or self._target is None or not self._size:
            file.flush()
            return
        file.seek(0)
        file.write(wav_header(self._size))
        file.flush()
        os.fsync(file.fileno())
        self._part.replace(self._target)
        self._part = None

    def _leave(self) -> None:
        if self._file is not None and not self._to_stdout:
            with suppress(OSError):
                self._file.close()
        if self._part is not None:
            self._part.unlink(missing_ok=True)

    def _cannot(self, error: OSError) -> TtswError:
        kept = self._part is not None and self._target is not None and self._target.exists()
        before = "; the file of before is as it was" if kept else ""
        return UnavailableError(f"cannot write {self.name}: {reason(error)}{before}")


def _is_special(path: Path) -> bool:
    """Whether there is something under the name that isn't a file to be replaced: a device, a pipe."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _check_replaceable(path: Path) -> None:
    """Refuse where a name would go to another file than the one that may be written.

    Raises:
        OSError: It may not be replaced.
    """
    if path.is_dir():
        raise IsADirectoryError(0, "Is a directory")
    if not os.access(path, os.W_OK):
        raise PermissionError(0, "Permission denied")


def _check_name(path: Path) -> None:
    if path.suffix.lower() != ".wav":
        raise InvalidArgumentError(
            f"-o {path}: only WAV is written: give a name that ends in .wav, or - for a WAV stream on stdout, "
            "which another program can encode"
        )
