"""Device monitor: reads devices' memory, with a deadline for each device, even if a driver hangs.

A device that reports an error, or doesn't respond within `LOOK_S`, is silent. A thread that hangs in a driver is
abandoned, at most one per device; until it returns, readings of that device don't wait. Each change is logged once.
"""

from collections.abc import Callable, Iterable, Sequence

import structlog
import trio

from ttsw.concurrency.coalesce import Coalesced
from ttsw.device import CpuDevice, Device
from ttsw.types import MemorySnapshot

log = structlog.get_logger(__name__)

LOOK_S = 2.0
"""Longest wait for a device, seconds; it usually responds within milliseconds."""

FIND_S = 20.0
"""Longest search for devices, seconds; a driver that initialises many GPUs takes seconds."""


class DeviceMonitor:
    """Reads the memory of devices.

    Args:
        devices: The devices.
        look_s: Longest wait for each, seconds.
    """

    def __init__(self, devices: Iterable[Device], look_s: float = LOOK_S) -> None:
        self._watches = [_Watch(device, look_s) for device in devices]
        self.look = Coalesced(self._look)
        """Return the memory of the devices that respond, in their order. Concurrent callers share a reading."""

    def __repr__(self) -> str:
        return f"<DeviceMonitor of {len(self._watches)} devices, silent: {', '.join(self.silent) or 'none'}>"

    @property
    def silent(self) -> dict[str, str]:
        """Devices that did not respond to the last reading, with the reason."""
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
    """One device and its responsiveness."""

    def __init__(self, device: Device, look_s: float) -> None:
        self.device, self._look_s = device, look_s
        self.fault = ""
        self._hangs = False
        self._limiter = trio.CapacityLimiter(1)

    async def look(self) -> MemorySnapshot | None:
        """Return the device's memory; None if it doesn't respond."""
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
            log.error("device does not respond; using its last known memory", device=self.device.id, error=fault)
        elif self.fault and not fault:
            log.info("device responds again", device=self.device.id)
        self.fault = fault


async def search_devices(find: Callable[[], tuple[Device, ...]], within_s: float = FIND_S) -> tuple[Device, ...]:
    """Find this process's devices, or only main memory if the search takes too long.

    Args:
        find: `ttsw.device.find_devices`.
        within_s: Longest search, seconds.
    """
    with trio.move_on_after(within_s):
        # called once in a process, so it has a limiter of its own
        return await trio.to_thread.run_sync(find, limiter=trio.CapacityLimiter(1), abandon_on_cancel=True)
    log.error("GPU driver does not respond; using the CPU only", waited_s=within_s, hint="does nvidia-smi work?")
    return (CpuDevice(),)
