"""Measure the event-loop scheduling delay, which delays frames that are due."""

from collections.abc import Callable

import trio

INTERVAL_S = 0.1
"""Measurement interval, seconds."""

MAX_LAG_S = 10.0
"""Longest delay counted, seconds; caps suspends of the machine or the process."""


async def watch_loop_lag(
    observe: Callable[[float], None], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Report the delay of each wake-up to `observe`, in seconds, until cancelled.

    A loop that is blocked for one second misses ten wake-ups. Each is reported with its own delay, so a long block
    counts more than a short one.
    """
    due = trio.current_time() + INTERVAL_S
    task_status.started()
    while True:
        await trio.sleep_until(due)
        now = trio.current_time()
        due = max(due, now - MAX_LAG_S)
        observe(now - due)
        due += INTERVAL_S
