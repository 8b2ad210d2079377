"""Coalescing calls: callers that arrive while a call is in progress share the next one."""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class _Round(Generic[T]):
    """Callers that share a call."""

    def __init__(self) -> None:
        self.result: tuple[T] | None = None


class Coalesced(Generic[T]):
    """Makes at most one call at a time, and returns each result to all callers that arrived before it began.

    So a result is never older than its request, and a thousand concurrent requests cost two calls. A call runs in the
    task of one of its callers. If that caller is cancelled, or the call fails for it, another caller repeats it; the
    rest don't notice. Any caller may be cancelled at any time.

    Args:
        call: The call.
    """

    def __init__(self, call: Callable[[], Awaitable[T]]) -> None:
        self._call = call
        self._turn = trio.Lock()
        self._gathering: _Round[T] | None = None

    def __repr__(self) -> str:
        return f"<Joined, {self._turn.statistics().tasks_waiting} waiting>"

    async def __call__(self) -> T:
        """Return the result of a call that begins from now on.

        Raises:
            Exception: Any exception of the call.
        """
        if self._gathering is None:
            self._gathering = _Round()
        mine = self._gathering
        async with self._turn:
            if mine.result is None:
                if self._gathering is mine:
                    self._gathering = None  # later callers belong to the next round
                mine.result = (await self._call(),)
            return mine.result[0]
