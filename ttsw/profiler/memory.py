"""What a server's processes have of a device's memory, as seen from outside, and how that changes while something runs.

On a CPU that is what is in RAM of the server and its descendants, on a GPU what its driver tells of them; where it
doesn't tell (in a container, it may know processes by other numbers only), what is used beyond what was used before.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

import trio

from ttsw.device import CpuDevice, Device
from ttsw.device.nvml import NvmlDevice
from ttsw.device.processes import ProcessTree
from ttsw.errors import TtswError, UnavailableError
from ttsw.profiler.subject import MemoryReading, Meter

MB = 1e6


class DeviceMeter:
    """Looks at a device of this machine.

    Args:
        device: The device, told which processes are the server's.
        before_mb: What was in use before there was a server.
    """

    def __init__(self, device: Device, before_mb: float) -> None:
        self._device, self._before_mb = device, before_mb
        self._limiter = trio.CapacityLimiter(1)

    async def look(self) -> MemoryReading:
        """See `ttsw.profiler.subject.Meter`."""
        snapshot = await trio.to_thread.run_sync(self._device.snapshot, limiter=self._limiter)
        used_mb, ours_mb = snapshot.used / MB, snapshot.ours / MB
        if not ours_mb and self._device.id != "cpu":
            ours_mb = max(0.0, used_mb - self._before_mb)
        return MemoryReading(snapshot.total / MB, ours_mb, max(0.0, used_mb - ours_mb))


class Figures(Protocol):
    """A server that tells figures."""

    async def figures(self) -> Mapping[str, float]:
        """The server's own figures."""
        ...


class FiguresMeter:
    """Asks the server itself: its device is simulated, and nobody else can see it.

    Args:
        server: The server.
    """

    def __init__(self, server: Figures) -> None:
        self._server = server

    async def look(self) -> MemoryReading:
        """See `ttsw.profiler.subject.Meter`."""
        told = await self._server.figures()
        try:
            return MemoryReading(told["device_memory_total_mb"], told["device_memory_used_mb"])
        except KeyError as error:
            raise UnavailableError(f"the server doesn't tell its figure {error}") from None


def meter_of_cpu(pid: int) -> DeviceMeter:
    """Look at main memory."""
    return DeviceMeter(CpuDevice(ProcessTree(pid)), 0.0)


def meter_of_gpu(gpu: NvmlDevice, pid: int, before_mb: float) -> DeviceMeter:
    """Look at a GPU.

    Args:
        gpu: The GPU.
        pid: The server's process.
        before_mb: What was in use before there was a server.
    """
    gpu.tree = ProcessTree(pid)
    return DeviceMeter(gpu, before_mb)


@dataclass
class Peak:
    """What was seen while something ran.

    Args:
        most_mb: The most that the server had.
        looks: How often it was looked at.
    """

    most_mb: float = 0.0
    looks: int = 0

    def see(self, memory: MemoryReading) -> None:
        """Take a look into account."""
        self.most_mb = max(self.most_mb, memory.ours_mb)
        self.looks += 1


@asynccontextmanager
async def open_peak(meter: Meter, every_s: float) -> AsyncGenerator[Peak, None]:
    """Look at memory again and again while a block runs, and once more at its end."""
    peak = Peak()
    failure: Exception | None = None

    async def watch() -> None:
        with suppress(TtswError):  # if it stays away, the last look says so
            while True:
                peak.see(await meter.look())
                await trio.sleep(every_s)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        try:
            yield peak
        except Exception as error:  # raised below, so that no exception group is made of it
            failure = error
        nursery.cancel_scope.cancel(reason="what was watched has ended")
    if failure is not None:
        raise failure
    peak.see(await meter.look())


def session_mb(base_mb: float, seen: Mapping[int, float]) -> list[float]:
    """What a session takes: the slopes between levels that are two sessions apart or more, the lowest first.

    What comes with the first session and stays one (workspace, caches) is in none of them but the last level's own
    share of what is beyond the base.

    Args:
        base_mb: Memory in use while nobody speaks.
        seen: Memory in use by level, MB.

    >>> session_mb(100.0, {1: 130.0, 4: 136.0}), session_mb(100.0, {1: 130.0})
    ([2.0, 9.0], [30.0])
    """
    if not seen:
        return []
    top = max(seen)
    between = [
        (seen[other] - seen[one]) / (other - one) for one in sorted(seen) for other in sorted(seen) if other >= one + 2
    ]
    return sorted(max(0.0, each) for each in [*between, (seen[top] - base_mb) / top])
