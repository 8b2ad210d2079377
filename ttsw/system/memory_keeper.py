"""Gives memory that many sessions have freed back to the system: the C library keeps it otherwise.

Decides when. A trim is worth it only where much is free, since it holds the allocator's lock for some milliseconds.
"""

import structlog
import trio

from ttsw.system.heap import free_bytes, trim_memory

log = structlog.get_logger(__name__)

EVERY_S = 10.0
"""How often the heap is looked at, s."""

WORTH_BYTES = 64_000_000
"""Free memory in the heap that is given back, bytes. Engines at work leave some tens of megabytes free all the time."""


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
