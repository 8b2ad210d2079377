"""Looks at devices' memory that nobody waits for in vain: each has a deadline, also where a driver hangs.

Decides when a device counts as silent: when it refuses to answer, or lets `LOOK_S` pass. A thread that hangs in a
driver is left behind, one a device at most, and while it hangs nobody waits for that device again. Each change is
logged once.
"""

from collections.abc import Callable, Iterable, Sequence

import structlog
import trio

from ttsw.concurrency.coalesce import Coalesced
from ttsw.device import CpuDevice, Device
from ttsw.types import MemorySnapshot

log = structlog.get_logger(__name__)

LOOK_S = 2.0
"""How long a device may take to answer, s; it is usually some milliseconds."""

FIND_S = 20.0
"""How long the search for devices may take, s: a driver that wakes many GPUs takes some seconds."""


class DeviceMonitor:
    """Looks at the memory of some devices.

    Args:
        devices: The devices.
        look_s: How long each may take to answer, s.
    """

    def __init__(self, devices: Iterable[Device], look_s: float = LOOK_S) -> None:
        self._watches = [_Watch(device, look_s) for device in devices]
        self.look = Coalesced(self._look)
        """Look at all of them: those that answer, in their order. Those who look at the same time share a look."""

    def __repr__(self) -> str:
        return f"<Lookout on {len(self._watches)} devices, silent: {', '.join(self.silent) or 'none'}>"

    @property
    def silent(self) -> dict[str, str]:
        """The devices that didn't answer when they were last looked at, and why not."""
        return {watch.device.id: watch.fault for watch in self._watches if watch.fault}

    async def _look(self) -> Sequence[MemorySnapshot]:
        seen: dict[_Watch, MemorySnapshot | None] = dict.fromkeys(self._watches)

        async def look(watch: _Watch) -> None:
            seen[watch] = await watch.look()

        async with trio.open_nursery() as nursery:
            for watch in self._watches:
                nursery.start_soon(look, watch)
        return [memory for memory in seen.values() if memory is not None]


class _Watch:
    """One device, and how it answers."""

    def __init__(self, device: Device, look_s: float) -> None:
        self.device, self._look_s = device, look_s
        self.fault = ""
        self._hangs = False
        self._limiter = trio.CapacityLimiter(1)

    async def look(self) -> MemorySnapshot | None:
        """Look at it; None where it doesn't answer."""
        if self._hangs and not self._limiter.available_tokens:
            await trio.lowlevel.checkpoint()
            return None
        seen, fault = None, f"no answer in {self._look_s:g} s"
        with trio.move_on_after(self._look_s) as patience:
            try:
                seen = await trio.to_thread.run_sync(
                    self.device.snapshot, limiter=self._limiter, abandon_on_cancel=True
                )
            except Exception as error:
                fault = str(error)
        self._hangs = patience.cancelled_caught
        self._tell("" if seen is not None else fault)
        return seen

    def _tell(self, fault: str) -> None:
        if fault and not self.fault:
            log.error("device does not answer; going on with its last known memory", device=self.device.id, error=fault)
        elif self.fault and not fault:
            log.info("device answers again", device=self.device.id)
        self.fault = fault


async def search_devices(find: Callable[[], tuple[Device, ...]], within_s: float = FIND_S) -> tuple[Device, ...]:
    """Find the devices of this process, or only main memory where the search takes too long.

    Args:
        find: `ttsw.device.find_devices`.
        within_s: How long it may take, s.
    """
    with trio.move_on_after(within_s):
        # once in a process's life, so the limiter is only its own
        return await trio.to_thread.run_sync(find, limiter=trio.CapacityLimiter(1), abandon_on_cancel=True)
    log.error(
        "GPU driver does not answer; going on with the CPU alone", waited_s=within_s, hint="does nvidia-smi work?"
    )
    return (CpuDevice(),)
