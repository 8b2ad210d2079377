"""Checksums: one digest over a pack's files, which changes when any of them does.

Reading gigabytes takes seconds, so a file whose size and time of change are those of its last reading counts as
unchanged. Callers keep the stamps.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import Field

from ttsw.packs.reader import PackError
from ttsw.types import VoicePack

_PIECE = 1 << 20

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class FileStamp(NamedTuple):
    """A file's attributes when it was last read.

    Args:
        size: Its size, bytes.
        changed_ns: Its time of change, ns.
        sha256: Its SHA-256, in hex.
    """

    size: Annotated[int, Field(ge=0)]
    changed_ns: int
    sha256: Sha256


def stamp_files(pack: VoicePack, known: Mapping[str, FileStamp]) -> dict[str, FileStamp]:
    """Read a pack's files, except those unchanged since `known`, and verify the pack's checksums.

    Args:
        pack: The pack.
        known: Earlier stamps by path.

    Returns:
        The stamps by path.

    Raises:
        PackError: A file can't be read, or doesn't match its checksum.
    """
    marks = {}
    for role, path in pack.files.items():
        last = known.get(str(path))
        if last is not None and last.sha256 != pack.checksums.get(role, last.sha256):
            last = None  # before a file is called damaged, it is read again
        try:
            mark = marks[str(path)] = _mark(path, last)
        except OSError as error:
            raise PackError(f"voice pack {pack.root}: {role} cannot be read: {error}") from error
        check_sha256(pack, role, mark.sha256)
    return marks


def check_sha256(pack: VoicePack, role: str, sha256: str) -> None:
    """Compare a file's SHA-256 with the one in its pack, if any.

    Raises:
        PackError: They differ.
    """
    expected = pack.checksums.get(role, sha256)
    if sha256 != expected:
        raise PackError(
            f"voice pack {pack.root}: {pack.files[role]} is not the file that the pack describes: its sha256 is "
            f"{sha256}, and {expected} in the metadata; it is damaged, cut short or another version"
        )


def digest(pack: VoicePack, marks: Mapping[str, FileStamp]) -> str:
    """Return one digest, in hex, over a pack's files and their roles."""
    whole = hashlib.sha256()
    for role, path in sorted(pack.files.items()):
        whole.update(f"{role}\0{marks[str(path)].sha256}\n".encode())
    return whole.hexdigest()


def file_sha256(path: Path, advance: Callable[[int], None] = lambda _bytes: None) -> str:
    """Read a file and return its SHA-256, in hex; `advance` receives the size of each piece, bytes.

    Raises:
        OSError: The file can't be read.
    """
    content = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            content.update(piece)
            advance(len(piece))
    return content.hexdigest()


def _mark(path: Path, known: FileStamp | None) -> FileStamp:
    stat = path.stat()
    if known is not None and (known.size, known.changed_ns) == (stat.st_size, stat.st_mtime_ns):
        return known
    return FileStamp(stat.st_size, stat.st_mtime_ns, file_sha256(path))
