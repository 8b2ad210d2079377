"""Threads for work that blocks. Each kind of work has a lane of its own, with a few threads for all who ask.

A limiter made for one call would limit nothing: a thousand calls would start a thousand threads.
"""

from collections.abc import Callable
from enum import Enum
from typing import TypeVar

import trio

T = TypeVar("T")


class Lane(Enum):
    """Kinds of work, each with a number of threads at once."""

    LISTING = "voice packs and measurements read for whoever asks", 1
    WEIGHING = "voice packs looked up, and libraries imported, for loads", 1
    RECORDS = "voice packs' files read and measurements written, for loads", 2
    LOADING = "models loaded; how many at once, residency decides", 8
    MEASURING = "loudness measured, and memory given back, after loads", 2

    @property
    def threads(self) -> int:
        """How many threads there are at once."""
        return self.value[1]


_limiters: trio.lowlevel.RunVar[dict[Lane, trio.CapacityLimiter]] = trio.lowlevel.RunVar("ttsw_lanes")


def limiter(lane: Lane) -> trio.CapacityLimiter:
    """Give a lane's limiter, the same for all tasks of this run."""
    try:
        lanes = _limiters.get()
    except LookupError:
        lanes = {each: trio.CapacityLimiter(each.threads) for each in Lane}
        _limiters.set(lanes)
    return lanes[lane]


async def run_in(lane: Lane, call: Callable[..., T], *args: object, abandon: bool = False) -> T:
    """Call a function in a thread of a lane; wait for one where all are in use.

    Args:
        lane: The kind of work.
        call: What to call.
        args: With what.
        abandon: Whether a cancelled caller leaves the thread behind. The thread counts until it ends, so there are
            never more. Only for work that changes nothing.
    """
    return await trio.to_thread.run_sync(call, *args, limiter=limiter(lane), abandon_on_cancel=abandon)
