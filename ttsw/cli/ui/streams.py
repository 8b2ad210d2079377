"""The three standard streams, as a command finds them: closed, full, without a reader, or in an encoding of its own.

Decides that a closed stream fails when it is used, and not when it is looked at, that text is written in any encoding,
and that an error of stdout says that it is stdout's.
"""

import errno
import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STDOUT = "stdout"
"""The name that errors of stdout carry as their file's."""


class NoReaderError(Exception):
    """Whoever read stdout has left. No OSError, since Typer would end the program by itself on that."""


class _Stdout(io.FileIO):
    """Stdout's descriptor, whose errors name it."""

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write, as any file does.

        Raises:
            NoReaderError: Nobody reads any more.
        """
        try:
            return super().write(data)
        except BrokenPipeError as error:
            raise NoReaderError("whoever read stdout has left") from error
        except OSError as error:
            error.filename = STDOUT
            raise


def mend_streams() -> None:
    """Make the standard streams usable, whatever the shell has made of them.

    A closed descriptor is opened anew, so that no socket takes its number, but in the wrong direction: reading from
    stdin and writing to stdout then fail with EBADF. What is written to a closed stderr is lost.
    """
    for number, flags in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)):
        if not _is_open(number):
            opened = os.open(os.devnull, flags)  # the lowest number that is free: this one
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    if sys.stdout is None or sys.stdout is sys.__stdout__:
        sys.stdout = _open_stdout(sys.stdout)


def leave_stdout() -> None:
    """Write what is buffered for stdout, or nowhere where that fails: it would fail again when Python exits."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError, NoReaderError):
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
            sys.stdout.flush()


def reason(error: OSError) -> str:
    """Say why the system refused."""
    if error.errno == errno.EBADF:
        return "it is closed"
    return error.strerror or str(error) or type(error).__name__


def from_shell(text: str) -> str:
    """Read an argument's bytes as UTF-8 where the locale couldn't make text of them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return text


def is_unicode(stream: TextIO) -> bool:
    """Whether a stream can carry any text as it is."""
    return (stream.encoding or "").lower().replace("-", "").startswith("utf")


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _open_stdout(before: TextIO | None) -> TextIO:
    """Open stdout on its descriptor: an encoding that lacks a letter gets it by its number."""
    raw = _Stdout(1, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=None if before is None else before.encoding,
        errors="backslashreplace",
        line_buffering=raw.isatty(),
    )
