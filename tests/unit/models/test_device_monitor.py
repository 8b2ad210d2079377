import threading
from functools import partial

import pytest
import trio

from ttsw.device import CpuDevice
from ttsw.models.device_monitor import DeviceMonitor, search_devices
from ttsw.models.manager import ModelManager
from ttsw.models.measurements import MeasurementStore
from ttsw.models.source import PackSource
from ttsw.packs.catalogue import Catalogue
from ttsw.testing import FakeDevice
from ttsw.types import VoicePack

LOOK_S = 0.2


class Hanging(FakeDevice):
    """A device whose driver hangs while its gate is closed; counts the threads that hang in it."""

    def __init__(self, *given, **more):
        super().__init__(*given, **more)
        self.gate = threading.Event()
        self.gate.set()
        self.inside = self.most = 0

    def snapshot(self):
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.gate.wait(20)
        self.inside -= 1
        return super().snapshot()


@pytest.fixture
def device():
    device = Hanging("cuda:0")
    yield device
    device.gate.set()


@pytest.fixture
def lookout(device):
    return DeviceMonitor([FakeDevice("cpu"), device], LOOK_S)


def ids(seen):
    return [memory.device for memory in seen]


async def test_devices_that_answer_are_seen_in_their_order(lookout):
    assert ids(await lookout.look()) == ["cpu", "cuda:0"]
    assert lookout.silent == {}


async def test_a_driver_that_hangs_costs_one_thread_one_wait_and_one_line(lookout, device, capsys):
    device.gate.clear()
    began = trio.current_time()
    assert ids(await lookout.look()) == ["cpu"]
    assert trio.current_time() - began >= LOOK_S
    assert lookout.silent == {"cuda:0": "no answer in 0.2 s"}
    threads = threading.active_count()
    began = trio.current_time()
    for _ in range(50):
        assert ids(await lookout.look()) == ["cpu"]
    assert trio.current_time() - began < 50 * LOOK_S / 2, "nobody waits for it again"
    assert (device.most, threading.active_count() <= threads + 1) == (1, True)
    assert capsys.readouterr().out.count("device does not respond") == 1
    device.gate.set()
    with trio.fail_after(5):
        while lookout.silent:
            await lookout.look()
            await trio.sleep(0.01)
    assert ids(await lookout.look()) == ["cpu", "cuda:0"]
    assert capsys.readouterr().out.count("device responds again") == 1


async def test_a_look_that_is_cancelled_returns_at_once_and_piles_nothing_up(device):
    lookout = DeviceMonitor([device], 60)
    device.gate.clear()
    for _ in range(5):
        with trio.move_on_after(0.02) as scope:
            await lookout.look()
        assert scope.cancelled_caught
    assert device.most == 1
    device.gate.set()
    assert ids(await lookout.look()) == ["cuda:0"]


async def test_a_device_that_is_lost_is_told_of_once(lookout, device, capsys):
    device.lost = "it fell off the bus"
    for _ in range(3):
        assert ids(await lookout.look()) == ["cpu"]
    assert "it fell off the bus" in lookout.silent["cuda:0"]
    assert capsys.readouterr().out.count("device does not respond") == 1


class Model:
    async def lost(self):
        await trio.sleep_forever()

    async def close(self):
        await trio.lowlevel.checkpoint()


@pytest.fixture
async def manager(nursery, device, tmp_path, monkeypatch):
    async def load(_pack, _record, _device, loaded, _base):
        await trio.lowlevel.checkpoint()
        loaded()
        return Model()

    monkeypatch.setattr("ttsw.models.source.DeviceMonitor", partial(DeviceMonitor, look_s=LOOK_S))
    shelf = Catalogue({f"f-{name}": VoicePack("f", name, tmp_path) for name in "ab"})
    manager = ModelManager(
        PackSource(lambda: shelf, MeasurementStore(tmp_path / "r"), [device], lambda _: ["cuda:0"], load)
    )
    await nursery.start(manager.run)
    yield manager
    device.gate.set()
    nursery.cancel_scope.cancel()


async def test_a_model_is_loaded_and_unloaded_though_a_driver_hangs(manager, device):
    device.take(1 << 30)
    await manager.load("f-a")
    device.gate.clear()
    with trio.fail_after(3):
        await manager.load("f-b")
        assert set(manager.residents) == {"f-a", "f-b"}
        await manager.unload("f-b")
        assert [memory.ours for memory in await manager.look()] == [1 << 30], "what was last known is still told"


async def test_a_callers_deadline_holds_though_a_driver_hangs(manager, device):
    device.gate.clear()
    began = trio.current_time()
    with pytest.raises(trio.TooSlowError), trio.fail_after(LOOK_S / 4):
        await manager.look()
    assert trio.current_time() - began < LOOK_S
    assert await manager.look()


async def test_the_search_for_devices_ends_though_a_driver_hangs(capsys):
    gate = threading.Event()
    (found,) = await search_devices(lambda: gate.wait(20), within_s=0.05)
    gate.set()
    assert isinstance(found, CpuDevice)
    assert "GPU driver does not respond" in capsys.readouterr().out
    assert await search_devices(lambda: (device,)) == (device,)
