"""What a load takes of a device: what this worker has of it before, at most meanwhile, and after."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import trio

from ttsw.types import MemorySnapshot

LOOK_S = 0.05
"""How often memory is looked at while something comes or goes."""

Look = Callable[[], Awaitable[Sequence[MemorySnapshot]]]


class LoadOverlap:
    """Loads and unloads under way by device: two at once blur what each of them takes."""

    def __init__(self) -> None:
        self._now, self._ever = Counter[str](), Counter[str]()

    def begin(self, device: str) -> int:
        """One begins; returns what `end` wants to be told."""
        self._now[device] += 1
        self._ever[device] += 1
        return self._ever[device] if self._now[device] == 1 else 0

    def end(self, device: str, begun: int) -> bool:
        """It has ended; says whether it was alone all the time."""
        self._now[device] -= 1
        return begun == self._ever[device]


class MemoryUse(NamedTuple):
    """What a load took, bytes: in the end, and at most."""

    size: int
    peak: int


class MemoryProbe:
    """One measurement.

    Args:
        look: Looks at the devices' memory.
        device: The device that counts.
    """

    def __init__(self, look: Look, device: str) -> None:
        self._look, self._device = look, device
        self._before: int | None = None
        self._peak = 0
        self._scope = trio.CancelScope()

    async def start(self) -> None:
        """Take what there is now as the beginning."""
        self._before = await self._ours()
        self._peak = self._before or 0

    async def watch(self) -> None:
        """Look for the peak, until `stop`."""
        with self._scope:
            while True:
                await trio.sleep(LOOK_S)
                self._peak = max(self._peak, await self._ours() or 0)

    def stop(self) -> None:
        """Watch no more."""
        self._scope.cancel(reason="measured")

    async def taken(self) -> MemoryUse | None:
        """What has come since the beginning; None where nothing came, or it couldn't be seen."""
        after = await self._ours()
        if self._before is None or after is None or after <= self._before:
            return None
        return MemoryUse(after - self._before, max(self._peak, after) - self._before)

    async def await_return(self, size: float) -> int | None:
        """Wait until so many bytes less are taken than at the beginning; returns how many, None if it can't be seen."""
        while (after := await self._ours()) is not None and self._before is not None:
            if self._before - after >= size:
                return self._before - after
            await trio.sleep(LOOK_S)
        return None

    async def _ours(self) -> int | None:
        seen = next((seen for seen in await self._look() if seen.device == self._device), None)
        return None if seen is None else seen.ours or seen.used  # in a container a GPU may not tell whose it is
