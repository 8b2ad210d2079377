"""Main memory, within the limits of this process."""

import os
import platform
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import psutil

from ttsw.device.cgroup import Cgroup, find_groups
from ttsw.device.processes import ProcessTree, resident_bytes
from ttsw.types import MemorySnapshot

_SPARE_PAGES = re.compile(rb"^ +count: +([0-9]+)$", re.MULTILINE)


class CpuDevice:
    """The processor, and main memory.

    Its total is the machine's memory, or a container's limit where that is lower. What is free is what both the machine
    and the container have left, so `used` counts others too. `ours` is the resident memory of this process and its
    descendants: it includes mapped files, and pages that they share count for each of them.

    Args:
        tree: Which processes are ours.
        groups: The cgroups that limit them; those of this process where it is None.
    """

    def __init__(self, tree: ProcessTree | None = None, groups: Sequence[Cgroup] | None = None) -> None:
        self.id = "cpu"
        self.name = processor_name()
        self._tree = tree or ProcessTree()
        self._groups = find_groups() if groups is None else tuple(groups)

    def __repr__(self) -> str:
        return f"<CpuDevice {self.name!r}, {len(self._groups)} cgroups>"

    @property
    def environ(self) -> dict[str, str]:
        """See `Device.environ`: no GPU is to be seen."""
        return {"CUDA_VISIBLE_DEVICES": ""}

    def snapshot(self) -> MemorySnapshot:
        """Look at main memory; takes some tenths of a millisecond."""
        memory = psutil.virtual_memory()
        limited = [(limit, group.used()) for group in self._groups if (limit := group.limit()) < memory.total]
        total, used = tightest(memory.total, memory.available + spare_bytes(), limited)
        ours = sum(resident_bytes(process) for process in self._tree.look().values())
        return MemorySnapshot(self.id, total, used, ours)


def tightest(total: int, available: int, limited: Iterable[tuple[float, int]]) -> tuple[int, int]:
    """Return total and used memory, bytes, such that the difference satisfies every limit.

    Args:
        total: The machine's memory.
        available: The available part of it.
        limited: Limit and usage of each cgroup.
    """
    free = available
    for limit, used in limited:
        total = min(total, int(limit))
        free = min(free, int(limit) - used)
    free = min(max(0, free), total)
    return total, total - free


def spare_bytes(zoneinfo: Path = Path("/proc/zoneinfo")) -> int:
    """Read how much free memory Linux keeps ready for each processor, bytes; 0 elsewhere.

    The next to allocate there gets it, but MemFree and MemAvailable leave it out (mm/show_mem.c). Newer kernels let it
    grow: to 200 MB with two processors and 24 GB, so that of 64 MB given back none showed as free within 4 s.
    """
    try:
        text = zoneinfo.read_bytes()
    except OSError:
        return 0
    return sum(map(int, _SPARE_PAGES.findall(text))) * os.sysconf("SC_PAGE_SIZE")


def processor_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's product name, or its architecture."""
    try:
        with cpuinfo.open(encoding="utf-8", errors="replace") as lines:
            name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        name = ""
    return name or platform.processor() or platform.machine()
