"""How a server's memory is seen."""

import os

import pytest
import trio

from ttsw.errors import UnavailableError
from ttsw.profiler.memory import DeviceMeter, FiguresMeter, meter_of_cpu, open_peak, session_mb
from ttsw.testing.devices import FakeDevice

MB = 1_000_000


async def test_memory_of_a_process():
    memory = await meter_of_cpu(os.getpid()).look()
    assert 0 < memory.ours_mb < memory.total_mb
    assert memory.others_mb >= 0


@pytest.mark.parametrize(
    ("device", "before_mb", "ours_mb", "others_mb"),
    [
        (FakeDevice(total=1_000 * MB, ours=300 * MB, used_by_others=100 * MB), 100.0, 300.0, 100.0),
        (FakeDevice(total=1_000 * MB, ours=0, used_by_others=400 * MB), 100.0, 300.0, 100.0),  # it tells no processes
        (FakeDevice(total=1_000 * MB, ours=0, used_by_others=400 * MB), 500.0, 0.0, 400.0),
        (FakeDevice("cpu", total=1_000 * MB, ours=0, used_by_others=400 * MB), 100.0, 0.0, 400.0),
    ],
)
async def test_memory_of_a_device(device, before_mb, ours_mb, others_mb):
    memory = await DeviceMeter(device, before_mb).look()
    assert (memory.total_mb, memory.ours_mb, memory.others_mb) == (1_000.0, ours_mb, others_mb)


class Server:
    def __init__(self, **figures):
        self._figures = figures

    async def figures(self):
        return self._figures


async def test_memory_that_only_the_server_sees():
    meter = FiguresMeter(Server(device_memory_used_mb=3.0, device_memory_total_mb=9.0))
    memory = await meter.look()
    assert (memory.total_mb, memory.ours_mb, memory.others_mb) == (9.0, 3.0, 0.0)
    with pytest.raises(UnavailableError, match="doesn't tell its figure"):
        await FiguresMeter(Server()).look()


async def test_a_peak_is_kept(autojump_clock):
    device = FakeDevice("cpu", total=1_000 * MB)

    class Meter(DeviceMeter):
        async def look(self):
            self._seen = getattr(self, "_seen", 0) + 1
            ours = {3: 700.0}.get(self._seen, 100.0)
            return await FiguresMeter(Server(device_memory_used_mb=ours, device_memory_total_mb=1_000.0)).look()

    async with open_peak(Meter(device, 0.0), 0.1) as peak:
        await trio.sleep(1.0)
    assert peak.most_mb == 700.0
    assert peak.looks >= 9


async def test_a_device_that_dies_while_it_is_watched():
    device = FakeDevice(total=1_000 * MB)

    async def watch():
        async with open_peak(DeviceMeter(device, 0.0), 0.01):
            device.lost = "it is lost"
            await trio.sleep(0.03)

    with pytest.raises(UnavailableError, match="lost"):
        await watch()


async def test_an_error_inside_is_raised_as_it_is():
    async def fail():
        async with open_peak(DeviceMeter(FakeDevice(total=1_000 * MB), 0.0), 0.01):
            raise UnavailableError("mine")

    with pytest.raises(UnavailableError, match=r"^mine$"):
        await fail()


def test_memory_of_a_session():
    linear = {count: 500.0 + 3 * count for count in (1, 2, 4, 8)}
    assert session_mb(500.0, linear) == pytest.approx([3.0] * 6)
    assert session_mb(400.0, linear)[-1] == pytest.approx(3 + 100 / 8)
    assert session_mb(600.0, {1: 590.0, 4: 580.0}) == [0.0, 0.0]
    assert session_mb(600.0, {}) == []
