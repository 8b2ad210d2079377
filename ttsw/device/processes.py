"""Process trees: a process and its descendants.

psutil's `children(recursive=True)` reads every process's parent each time: 24 ms with 480 processes. A foreign process
never becomes a descendant, so each process's parent is read once, when it is first seen; a look costs one listing of
process ids.
"""

import os
from contextlib import suppress
from threading import Lock

import psutil

from ttsw.errors import UnavailableError


class ProcessTree:
    """A process and its descendants. May be asked from several threads.

    A descendant whose own parent has ended still counts. A number that the system has given to another process between
    two looks isn't noticed: it would have to come around its whole range of numbers meanwhile.

    Args:
        pid: The process; this one if None.

    Raises:
        UnavailableError: It has ended.
    """

    def __init__(self, pid: int | None = None) -> None:
        self._own = os.getpid() if pid is None else pid
        self._lock = Lock()
        try:
            self._ours = {self._own: psutil.Process(self._own)}
        except psutil.Error as error:
            raise UnavailableError(f"process {pid} has ended") from error
        self._others: set[int] = set()

    def __repr__(self) -> str:
        return f"<ProcessTree of {self._own}, {len(self._ours)} processes>"

    def look(self) -> dict[int, psutil.Process]:
        """Return the current processes, by id."""
        with self._lock:
            present = {self._own, *psutil.pids()}
            self._ours = {pid: process for pid, process in self._ours.items() if pid in present}
            self._others &= present
            self._sort(present - self._ours.keys() - self._others)
            return self._ours

    def _sort(self, new: set[int]) -> None:
        """Classify newly seen processes; a new child may already have children."""
        parents: dict[int, int] = {}
        found: dict[int, psutil.Process] = {}
        for pid in new:
            with suppress(psutil.Error):  # it has ended already
                found[pid] = psutil.Process(pid)
                parents[pid] = found[pid].ppid()
        more = True
        while more:
            more = False
            for pid in [pid for pid, parent in parents.items() if parent in self._ours]:
                self._ours[pid], more = found[pid], True
                del parents[pid]
        self._others |= parents.keys()


def resident_bytes(process: psutil.Process) -> int:
    """Return the resident memory of a process, bytes; 0 once it has ended.

    Shared pages (libraries, or pages not yet written after a fork) count for each process.
    """
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
