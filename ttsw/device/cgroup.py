"""What a container may have of main memory: the limits of this process's cgroup and of those above it.

Reads cgroup v2 and v1, at their usual places. Where a container sees only its own cgroup, mounted as the root, the path
that the kernel names isn't there; so every folder from that path up to the root is asked, and one that is missing says
nothing. Where there are no cgroups, as on macOS, nothing is found.

Of what a cgroup is charged with, all counts as used but the page cache that the kernel can drop at once. The kernel
takes both file lists (`active_file`, `inactive_file`) for available where it estimates that for the whole system
(MemAvailable: its filesystems/proc.rst); shared memory isn't on them (its cgroup-v2.rst). Others count the active list
as used, but weights that are read twice, for their digest and for the load, come onto it: a container would look fuller
with each model that comes and goes. To be careful, what is mapped (code, weights in use), modified or being written is
taken off the lists: it would be read again at once, or has to be written first. Slab counts as used.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class Names:
    """Names of the files, and of the entries in `memory.stat`, in one version of cgroups."""

    limits: tuple[str, ...]
    usage: str
    cache: tuple[str, ...]
    kept: tuple[str, ...]


# A cgroup above `memory.high` isn't killed, but so slowed down that it can't speak in real time: it is a limit for us.
V2: Final = Names(
    limits=("memory.max", "memory.high"),
    usage="memory.current",
    cache=("inactive_file", "active_file"),
    kept=("file_mapped", "file_dirty", "file_writeback"),
)
# v1 has a number for "no limit", greater than any memory. The `total_` ones count the cgroups below too.
V1: Final = Names(
    limits=("memory.limit_in_bytes",),
    usage="memory.usage_in_bytes",
    cache=("total_inactive_file", "total_active_file"),
    kept=("total_mapped_file", "total_dirty", "total_writeback"),
)


@dataclass(frozen=True, slots=True)
class Cgroup:
    """One cgroup.

    Args:
        folder: The folder of its files.
        names: The names of its files.
    """

    folder: Path
    names: Names

    def limit(self) -> float:
        """Return its memory limit, bytes; inf if unlimited."""
        return min(_number(self._read(name)) for name in self.names.limits)

    def used(self) -> int:
        """Return its memory usage, bytes, without page cache that can be dropped at once."""
        usage = _number(self._read(self.names.usage))
        if math.isinf(usage):
            return 0
        words = self._read("memory.stat").decode("ascii", "replace").split()
        entries = dict(zip(words[::2], words[1::2], strict=False))
        cache, kept = (sum(int(entries.get(name, 0)) for name in some) for some in (self.names.cache, self.names.kept))
        return max(0, int(usage) - max(0, cache - kept))

    def _read(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except OSError:
            return b""


def find_groups(
    membership: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> tuple[Cgroup, ...]:
    """Return the cgroups whose limits apply to this process: its own and its ancestors.

    Args:
        membership: The kernel's list of this process's cgroups.
        root: Mount point of the cgroup file system.
    """
    try:
        lines = membership.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ()
    return tuple(group for line in lines if line.count(":") >= 2 for group in _groups(line, root))


def _groups(line: str, root: Path) -> Iterator[Cgroup]:
    number, controllers, path = line.split(":", 2)
    if number == "0":  # v2; beside v1 it has a place of its own
        mount, names = root if (root / "cgroup.controllers").is_file() else root / "unified", V2
    elif "memory" in controllers.split(","):
        mount, names = root / "memory", V1
    else:
        return
    parts = path.strip("/").split("/")
    if ".." in parts:  # outside of what this process can see
        return
    own = mount.joinpath(*parts)
    for folder in (own, *own.parents):
        if any((folder / name).is_file() for name in names.limits):
            yield Cgroup(folder, names)
        if folder == mount:
            return


def _number(text: bytes) -> float:
    """Read a number from a file; `max` or a missing file mean no limit."""
    return float(int(text)) if text.strip().isdigit() else math.inf
