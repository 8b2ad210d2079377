"""Downloading a file: complete, verified and in place, or not at all.

It decides whether a download resumes, restarts, is retried or is given up. It blocks, for use by the command line. The
received part is kept as `<store>/<sha256>.part`, from which the next call resumes; that file also serves as the lock
against concurrent downloads. `ttsw.packs.https` makes the requests.
"""

import errno
import fcntl
import os
import shutil
import ssl
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ttsw.errors import ResourceExhaustedError
from ttsw.packs.checksums import file_sha256
from ttsw.packs.https import BrokenDownloadError, DownloadError, HostUnreachableError, StalledDownloadError, open_at
from ttsw.packs.status import size_text
from ttsw.system.files import sync_folder

_PIECE = 1 << 18
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Download:
    """A file to download.

    Args:
        url: Its address, beginning with https://.
        sha256: Its expected SHA-256, in hex.
        size: Its expected size, bytes.
        name: Its name in the store.
    """

    url: str
    sha256: str
    size: int
    name: str


@dataclass(frozen=True)
class Downloader:
    """Downloads files.

    Args:
        store: Where they are stored, as `<sha256>/<name>`.
        progress: Receives the number of bytes received, and the total.
        tell: Receives messages for a person who waits.
        context: TLS context; None uses Python's default and SSL_CERT_FILE.
        stall_s: Longest silence of a server, seconds.
        tries: Number of broken connections after which to give up; those that delivered 1 % of the file don't count.
        sleep: Waits between attempts, seconds.
    """

    store: Path
    progress: Callable[[int, int], None] = lambda _done, _total: None
    tell: Callable[[str], None] = lambda _sentence: None
    context: ssl.SSLContext | None = None
    stall_s: float = 30.0
    tries: int = 5
    sleep: Callable[[float], None] = time.sleep  # noqa: TID251 - no loop runs here, and nothing else waits

    def pull(self, wanted: Download) -> Path:
        """Download a file into the store, unless it is there already, and return its path.

        Raises:
            DownloadError: It can't be downloaded, or isn't the expected file.
            ResourceExhaustedError: The disk is full, or would be.
        """
        target = self.store / wanted.sha256 / wanted.name
        try:
            self.store.mkdir(parents=True, exist_ok=True)
            if _is_there(target, wanted.size) or _share(target, wanted.size):
                return target
            with self._own(self.store / f"{wanted.sha256}.part") as (part, file):
                if not _is_there(target, wanted.size):  # another process may have completed it
                    self._complete(wanted, part, file)
                    _settle(part, file, target)
        except OSError as error:
            raise DownloadError(f"{target} cannot be written: {error.strerror or error}") from error
        return target

    @contextmanager
    def _own(self, part: Path) -> Generator[tuple[Path, int], None, None]:
        """Open the partial file under an exclusive lock; delete it afterwards if it is still empty."""
        while True:
            file = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
            try:
                self._lock(file)
                if not _is_at(part, file):
                    continue  # the process that held the lock has finished
                try:
                    yield part, file
                finally:
                    if os.fstat(file).st_size == 0 and _is_at(part, file):
                        part.unlink()
                return
            finally:
                os.close(file)

    def _lock(self, file: int) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.tell("another ttsw is downloading the same file; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)

    def _complete(self, wanted: Download, part: Path, file: int) -> None:
        """Download the missing rest, and verify the whole file."""
        most = at_first = _size(file)
        failures = 0
        while (done := _size(file)) != wanted.size:
            try:
                self._receive(wanted, file, done if done < wanted.size else 0)
            except BrokenDownloadError as error:
                failures = 1 if _size(file) - most > wanted.size / 100 else failures + 1
                most = max(most, _size(file))
                unreachable = isinstance(error, HostUnreachableError) and most == at_first
                if unreachable or failures >= self.tries:
                    raise DownloadError(f"{error}; {_kept(wanted, file)}") from error
                self.tell(f"{error}; trying again in {2**failures // 2} s")
                self.sleep(2**failures // 2)
            except StalledDownloadError as error:
                raise StalledDownloadError(f"{error}; {_kept(wanted, file)}") from error
        self.tell(f"checking {wanted.name}")
        sha256 = file_sha256(part)
        if sha256 != wanted.sha256:
            part.unlink()
            raise DownloadError(
                f"{wanted.url} is not the file that the pack describes, and is deleted: its sha256 is {sha256}, and "
                f"{wanted.sha256} in the metadata"
            )

    def _receive(self, wanted: Download, file: int, start: int) -> None:
        """Receive the bytes of one connection, at most up to the file's size."""
        free = shutil.disk_usage(self.store).free
        if free < wanted.size - start:
            raise ResourceExhaustedError(
                f"{wanted.name} needs {size_text(wanted.size - start)} more, and {self.store} has {size_text(free)} "
                f"free; nothing was downloaded"
            )
        with open_at(wanted.url, start, wanted.size, context=self.context, stall_s=self.stall_s) as (begins, read):
            os.ftruncate(file, begins)
            os.lseek(file, begins, os.SEEK_SET)
            done = begins
            self.progress(done, wanted.size)
            while done < wanted.size:
                piece = read(min(_PIECE, wanted.size - done))
                if not piece:
                    raise BrokenDownloadError(f"{wanted.url} ended after {done} of {wanted.size} bytes")
                _write(file, piece, wanted)
                done += len(piece)
                self.progress(done, wanted.size)


def _write(file: int, piece: bytes, wanted: Download) -> None:
    rest = memoryview(piece)
    try:
        while rest:
            rest = rest[os.write(file, rest) :]
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise ResourceExhaustedError(f"the disk is full; {_kept(wanted, file)}") from error


def _kept(wanted: Download, file: int) -> str:
    done = _size(file)
    if not done:
        return "nothing of it is there yet"
    return f"{size_text(done)} of {size_text(wanted.size)} are there, and calling again goes on from there"


def _settle(part: Path, file: int, target: Path) -> None:
    """Put a complete file in place, safe against a power failure."""
    os.fsync(file)
    target.parent.mkdir(exist_ok=True)
    part.replace(target)
    sync_folder(target.parent)


def _is_there(target: Path, size: int) -> bool:
    return target.is_file() and target.stat().st_size == size


def _share(target: Path, size: int) -> bool:
    """Link to the same file under the name that another pack uses, if it exists."""
    for path in sorted(target.parent.glob("*")):
        if _is_there(path, size):
            target.unlink(missing_ok=True)
            target.hardlink_to(path)
            return True
    return False


def _is_at(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False


def _size(file: int) -> int:
    return os.fstat(file).st_size
