"""Measure a load's device memory: baseline, peak, final."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import trio

from ttsw.types import MemorySnapshot

LOOK_S = 0.05
"""Interval between readings, seconds."""

Look = Callable[[], Awaitable[Sequence[MemorySnapshot]]]


class LoadOverlap:
    """Loads and unloads in progress by device: overlapping ones can't be measured separately."""

    def __init__(self) -> None:
        self._now, self._ever = Counter[str](), Counter[str]()

    def begin(self, device: str) -> int:
        """Note the start of one; return the token that `end` takes."""
        self._now[device] += 1
        self._ever[device] += 1
        return self._ever[device] if self._now[device] == 1 else 0

    def end(self, device: str, begun: int) -> bool:
        """Note its end; return whether no other one overlapped."""
        self._now[device] -= 1
        return begun == self._ever[device]


class MemoryUse(NamedTuple):
    """A load's memory: final and peak, bytes."""

    size: int
    peak: int


class MemoryProbe:
    """One measurement.

    Args:
        look: Reads the devices' memory.
        device: The device to measure.
    """

    def __init__(self, look: Look, device: str) -> None:
        self._look, self._device = look, device
        self._before: int | None = None
        self._peak = 0
        self._scope = trio.CancelScope()

    async def start(self) -> None:
        """Record the baseline."""
        self._before = await self._ours()
        self._peak = self._before or 0

    async def watch(self) -> None:
        """Track the peak until `stop`."""
        with self._scope:
            while True:
                await trio.sleep(LOOK_S)
                self._peak = max(self._peak, await self._ours() or 0)

    def stop(self) -> None:
        """Stop tracking."""
        self._scope.cancel(reason="measured")

    async def taken(self) -> MemoryUse | None:
        """Return the memory added since the baseline; None if there was none, or it couldn't be read."""
        after = await self._ours()
        if self._before is None or after is None or after <= self._before:
            return None
        return MemoryUse(after - self._before, max(self._peak, after) - self._before)

    async def await_return(self, size: float) -> int | None:
        """Wait until usage is `size` bytes below the baseline; return the bytes freed, None if it can't be read."""
        while (after := await self._ours()) is not None and self._before is not None:
            if self._before - after >= size:
                return self._before - after
            await trio.sleep(LOOK_S)
        return None

    async def _ours(self) -> int | None:
        seen = next((seen for seen in await self._look() if seen.device == self._device), None)
        return (
            None if seen is None else seen.ours or seen.used
        )  # in a container, the GPU driver may not attribute memory to processes
