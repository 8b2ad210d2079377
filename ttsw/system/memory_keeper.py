"""Returning freed memory to the system, which the C library would keep after many sessions.

It decides when: a trim pays only if much is free, since it holds the allocator's lock for some milliseconds.
"""

import structlog
import trio

from ttsw.system.heap import free_bytes, trim_memory

log = structlog.get_logger(__name__)

EVERY_S = 10.0
"""Interval between checks, seconds."""

WORTH_BYTES = 64_000_000
"""Free heap memory at which to trim, bytes. Working engines always leave some tens of megabytes free."""


async def keep_memory_low(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Return free memory to the system periodically, until cancelled."""
    task_status.started()
    kept = 0
    while True:
        await trio.sleep(EVERY_S)
        free = free_bytes()
        if free - kept >= WORTH_BYTES:  # memory that an earlier trim couldn't return doesn't count
            await trio.to_thread.run_sync(trim_memory)
            kept = free_bytes()
            log.debug("memory given back", free_mb=round(free / 1e6), kept_mb=round(kept / 1e6))
        kept = min(kept, free)
