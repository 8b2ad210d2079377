"""Threads for blocking work: each kind of work has a lane, with a few threads for all its callers.

A limiter created per call would limit nothing: a thousand calls would start a thousand threads.
"""

from collections.abc import Callable
from enum import Enum
from typing import TypeVar

import trio

T = TypeVar("T")


class Lane(Enum):
    """Kinds of work, each with its number of threads."""

    LISTING = "voice packs and measurements read for whoever asks", 1
    WEIGHING = "voice packs looked up, and libraries imported, for loads", 1
    RECORDS = "voice packs' files read and measurements written, for loads", 2
    LOADING = "models loaded; how many at once, residency decides", 8
    MEASURING = "loudness measured, and memory given back, after loads", 2

    @property
    def threads(self) -> int:
        """Most threads at once."""
        return self.value[1]


_limiters: trio.lowlevel.RunVar[dict[Lane, trio.CapacityLimiter]] = trio.lowlevel.RunVar("ttsw_lanes")


def limiter(lane: Lane) -> trio.CapacityLimiter:
    """Return a lane's limiter, shared by all tasks of this trio run."""
    try:
        lanes = _limiters.get()
    except LookupError:
        lanes = {each: trio.CapacityLimiter(each.threads) for each in Lane}
        _limiters.set(lanes)
    return lanes[lane]


async def run_in(lane: Lane, call: Callable[..., T], *args: object, abandon: bool = False) -> T:
    """Call a function in a thread of a lane, waiting for a free thread.

    Args:
        lane: The kind of work.
        call: The function.
        args: Its arguments.
        abandon: Whether cancelling the caller abandons the thread. It counts until it ends, so that there are never
            more threads. Only for work without side effects.
    """
    return await trio.to_thread.run_sync(call, *args, limiter=limiter(lane), abandon_on_cancel=abandon)
