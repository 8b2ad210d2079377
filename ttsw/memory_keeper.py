"""Gives memory that many sessions have freed back to the system: the C library keeps it otherwise.

Decides when. A trim is worth it only where much is free, since it holds the allocator's lock for some milliseconds.
"""

import ctypes

import structlog
import trio

from ttsw.adapters.memory import trim_memory

log = structlog.get_logger(__name__)

EVERY_S = 10.0
"""How often the heap is looked at, s."""

WORTH_BYTES = 64_000_000
"""Free memory in the heap that is given back, bytes. Engines at work leave some tens of megabytes free all the time."""


class _Mallinfo2(ctypes.Structure):
    """`struct mallinfo2` of glibc, malloc.h."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *(
                "arena",
                "ordblks",
                "smblks",
                "hblks",
                "hblkhd",
                "usmblks",
                "fsmblks",
                "uordblks",
                "fordblks",
                "keepcost",
            ),
        )
    ]


def free_bytes() -> int:
    """Count the free bytes of the C library's heap; 0 where it can't tell (before glibc 2.33, or another library)."""
    look = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if look is None:
        return 0
    look.restype = _Mallinfo2
    return int(look().fordblks)


async def keep_memory_low(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Give free memory back, again and again, until cancelled."""
    task_status.started()
    kept = 0
    while True:
        await trio.sleep(EVERY_S)
        free = free_bytes()
        if free - kept >= WORTH_BYTES:  # what an earlier trim could not give back doesn't count again
            await trio.to_thread.run_sync(trim_memory)
            kept = free_bytes()
            log.debug("memory given back", free_mb=round(free / 1e6), kept_mb=round(kept / 1e6))
        kept = min(kept, free)
