"""How late the event loop wakes those who sleep: what a frame that is due has to bear with."""

from collections.abc import Callable

import trio

EVERY_S = 0.1
"""How often it is looked at."""

LONGEST_S = 10.0
"""A standstill (the machine slept, the process was stopped) counts as one of this length at most."""


async def watch_loop_lag(
    observe: Callable[[float], None], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Tell `observe` how late each wake-up was, s, until cancelled.

    A loop that stands still for a second misses ten wake-ups. All of them are told, each with its own lateness;
    otherwise a long standstill would count no more than a short one.
    """
    due = trio.current_time() + EVERY_S
    task_status.started()
    while True:
        await trio.sleep_until(due)
        now = trio.current_time()
        due = max(due, now - LONGEST_S)
        observe(now - due)
        due += EVERY_S
