"""Atomic file writes, and locks between processes.

All functions block: call them in a thread.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from threading import Event
from typing import IO

LOCK_S = 5.0
"""Longest wait for another process's lock, seconds."""

_TRY_S = 0.01
_UNSUPPORTED = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


@contextmanager
def open_whole(path: Path, *, durable: bool = False) -> Iterator[IO[bytes]]:
    """Write a file under a temporary name, and rename it when the block ends successfully.

    If the block fails, the temporary file is removed, and the file at `path` stays unchanged. A replaced file keeps its
    permissions; a link keeps pointing to its file, which is replaced. A device or a pipe, such as /dev/null, is written
    to directly.

    Args:
        path: The file. Its folder must exist.
        durable: Whether to flush the content to disk before renaming.

    Yields:
        The open file: binary, readable and seekable.

    Raises:
        OSError: It can't be written.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        with target.open("wb") as direct:
            yield direct
        return
    part = target.with_name(f".{target.name[:50]}-{token_hex(8)}")
    file = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    try:
        with os.fdopen(file, "w+b") as whole:
            with suppress(FileNotFoundError):
                os.fchmod(file, target.stat().st_mode & 0o777)
            yield whole
            whole.flush()
            if durable:
                os.fsync(file)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(target.parent)


def write_whole(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Write a file atomically; see `open_whole`.

    Raises:
        OSError: It can't be written.
    """
    with open_whole(path, durable=durable) as file:
        file.write(data)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk.

    Raises:
        OSError: They can't be written.
    """
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


@contextmanager
def locked(path: Path, *, wait_s: float = LOCK_S) -> Iterator[None]:
    """Hold an exclusive lock between processes, and between callers in this one.

    The kernel releases it when the process ends, so a leftover lock file locks nobody out. On a file system without
    locks, the block runs without one.

    Args:
        path: The lock file, created if missing. Its folder must exist.
        wait_s: Longest wait for another holder, seconds.

    Raises:
        TimeoutError: Another process held it all the time.
        OSError: The file can't be opened.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    try:
        _lock(file, path, wait_s)
        yield
    finally:
        os.close(file)


def _lock(file: int, path: Path, wait_s: float) -> None:
    for _ in range(1 + round(wait_s / _TRY_S)):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            Event().wait(_TRY_S)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            return
        else:
            return
    raise TimeoutError(errno.ETIMEDOUT, f"locked by another process for over {wait_s:g} s", str(path))
