import threading
from contextlib import contextmanager, suppress

import numpy as np
import pytest
import trio

import ttsw.adapters.hosts.thread as host_module
from ttsw.adapters.base import EngineSettings
from ttsw.adapters.hosts.thread import ThreadHost, is_out_of_memory, open_thread_host
from ttsw.adapters.mock import MockAdapter
from ttsw.errors import InternalError, NotFoundError, OutOfMemoryError, UnavailableError
from ttsw.testing import FakeAdapter
from ttsw.types import VoicePack


class Engine(FakeAdapter):
    """Counts who is inside, and can be held, made to fail, or watched while it is closed."""

    def __init__(self, pack, concurrency=2):
        super().__init__(pack)
        self.concurrency = concurrency
        self.inside = self.most = self.steps = self.left = 0
        self.gate = threading.Event()
        self.gate.set()
        self.error = None
        self.closed = False

    def speak(self, text, options):
        try:
            for number in range(int(text)):
                self.inside += 1
                self.most = max(self.most, self.inside)
                self.gate.wait(20)
                self.inside -= 1
                if self.error:
                    raise self.error
                self.steps += 1
                yield np.full(4, number, np.float32)
        finally:
            self.left += 1

    def attach(self, pack):
        if pack.name == "broken":
            raise ValueError("it is of another model")
        return Engine(pack)

    def close(self):
        self.closed = True


@pytest.fixture
def engine(tmp_path):
    return Engine(VoicePack("fake", "voice", tmp_path))


@pytest.fixture
def host(engine):
    return ThreadHost(engine)


async def speak(host, count, taken=None, wait=None):
    taken = [] if taken is None else taken

    async def take(value, seconds):
        assert seconds >= 0
        taken.append(value)
        if wait is not None:
            await wait.wait()

    await host.speak(str(count), {}, lambda chunk: int(chunk[0]), take)
    return taken


async def test_chunks_come_in_order_converted_in_the_engines_thread(host):
    seen = []

    async def take(value, _seconds):
        await trio.lowlevel.checkpoint()
        seen.append(value)

    await host.speak("3", {}, lambda chunk: (int(chunk[0]), threading.current_thread()), take)
    assert [number for number, _ in seen] == [0, 1, 2]
    assert all(thread is not threading.main_thread() for _, thread in seen)


async def test_no_more_steps_at_once_than_places(host, engine):
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(speak, host, 5)
    assert engine.most <= 2
    assert engine.steps == 50


async def test_a_listener_who_is_slow_holds_no_place(host, engine):
    stuck = trio.Event()
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(speak, host, 2, None, stuck)
        assert await speak(host, 50) == list(range(50))
        stuck.set()


async def test_back_pressure_reaches_the_engine(host, engine):
    stuck, taken = trio.Event(), []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(speak, host, 100, taken, stuck)
        while not taken:
            await trio.sleep(0.001)
        await trio.sleep(0.05)
        assert engine.steps == 1
        nursery.cancel_scope.cancel()
    assert engine.left == 1


async def test_cancelled_in_a_step_it_waits_for_the_steps_end_and_closes_the_iterator(host, engine):
    engine.gate.clear()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(speak, host, 100)
            while not engine.inside:
                await trio.sleep(0.001)
            scope.cancel()
            engine.gate.set()
    assert (engine.inside, engine.left) == (0, 1)
    assert engine.steps <= 1
    assert "0 running, 0 waiting" in repr(host)


async def test_cancelled_while_it_waits_for_a_place_it_leaves_at_once(host, engine):
    engine.gate.clear()
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(speak, host, 1)
        while engine.inside < 2:
            await trio.sleep(0.001)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as waiting:
                waiting.start_soon(speak, host, 1)
                while not host.waiting:
                    await trio.sleep(0.001)
                scope.cancel()
                engine.gate.set()
    assert host.waiting == 0
    assert await speak(host, 1) == [0]


async def test_an_engines_error_is_named_and_costs_only_its_own_utterance(host, engine):
    engine.error = ZeroDivisionError("oh")
    with pytest.raises(InternalError, match="the engine of fake-voice failed: ZeroDivisionError: oh") as failure:
        await speak(host, 3)
    assert isinstance(failure.value.__cause__, ZeroDivisionError)
    engine.error = UnavailableError("not now")
    with pytest.raises(UnavailableError, match="not now"):
        await speak(host, 3)
    engine.error = None
    assert await speak(host, 3) == [0, 1, 2]


async def speak_until_closed(host, *more):
    with pytest.raises(UnavailableError, match="unloaded while it spoke"):
        await speak(host, 100, *more)


async def test_close_waits_for_the_steps_that_run_and_lets_no_other_begin(host, engine):
    engine.gate.clear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(speak_until_closed, host)
        while not engine.inside:
            await trio.sleep(0.001)
        nursery.start_soon(host.close)
        await trio.sleep(0.05)
        assert not engine.closed
        engine.gate.set()
    assert engine.closed


async def test_close_gives_up_on_a_step_that_never_ends(host, engine, monkeypatch):
    monkeypatch.setattr(host_module, "CLOSE_S", 0.05)
    engine.gate.clear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(speak_until_closed, host)
        while not engine.inside:
            await trio.sleep(0.001)
        with pytest.raises(InternalError, match="a step has run for over"):
            await host.close()
        assert not engine.closed
        engine.gate.set()


async def test_close_gives_up_on_an_adapter_that_never_closes(host, engine, monkeypatch):
    monkeypatch.setattr(host_module, "CLOSE_S", 0.05)
    monkeypatch.setattr(engine, "close", lambda: engine.gate.wait(20))
    engine.gate.clear()
    with trio.CancelScope() as scope:
        scope.cancel()
        with pytest.raises(InternalError, match="its own close has run for over"):
            await host.close()
    engine.gate.set()


async def test_close_ends_an_utterance_whose_listener_is_slow(host, engine):
    stuck, taken = trio.Event(), []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(speak_until_closed, host, taken, stuck)
        while not taken:
            await trio.sleep(0.001)
        with trio.fail_after(5):
            await host.close()
        assert (engine.left, engine.closed) == (1, True)
    with pytest.raises(UnavailableError, match="unloaded"):
        await speak(host, 1)
    with pytest.raises(UnavailableError, match="unloaded"):
        await host.attach(engine.pack)


async def test_an_utterance_that_finds_no_place_to_be_closed_in_is_left_and_told_of(engine, monkeypatch, caplog):
    monkeypatch.setattr(host_module, "CLOSE_S", 0.05)
    engine.concurrency = 1
    host, taken = ThreadHost(engine), []
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:

            async def leave():
                while not taken:
                    await trio.sleep(0.001)
                engine.gate.clear()
                nursery.start_soon(speak, host, 1)
                while not engine.inside:
                    await trio.sleep(0.001)
                scope.cancel()

            nursery.start_soon(leave)
            await speak(host, 100, taken, trio.Event())
        assert "an utterance of fake-voice was left open" in caplog.text
        engine.gate.set()


class Watched(FakeAdapter):
    """Takes its time everywhere, and knows what ran at the same time as its close, or after it."""

    concurrency = 2

    def __init__(self, pack):
        super().__init__(pack)
        self.inside, self.closed, self.faults = [], False, []

    @contextmanager
    def doing(self, what):
        if self.closed:
            self.faults.append(f"{what} after the close")
        self.inside.append(what)
        threading.Event().wait(0.001)
        self.inside.remove(what)
        yield

    def speak(self, text, options):
        try:
            while True:
                with self.doing("a step"):
                    pass
                yield np.zeros(4, np.float32)
        finally:
            with self.doing("a clean-up"):
                pass

    def prepare(self, options):
        with self.doing("a preparation"):
            pass

    def attach(self, pack):
        with self.doing("a load"):
            return Watched(pack)

    def close(self):
        self.faults += [f"{what} beside the close" for what in self.inside]
        self.closed = True


async def use(host, how):
    async def take(value, seconds):
        await trio.lowlevel.checkpoint()

    async def take_slowly(value, seconds):
        await trio.sleep(0.002)

    match how:
        case "speak":
            await host.speak("", {}, lambda chunk: None, take)
        case "speak to a slow listener":
            await host.speak("", {}, lambda chunk: None, take_slowly)
        case "prepare":
            await host.prepare({})
        case "attach":
            await host.attach(host.adapter.pack)


@pytest.mark.parametrize("how", ["speak", "speak to a slow listener", "prepare", "attach"])
@pytest.mark.parametrize("cancelled", [True, False])
async def test_at_whatever_tick_it_is_closed_nothing_of_the_adapter_runs_beside_its_close(how, cancelled, tmp_path):
    for ticks in range(40):
        engine = Watched(VoicePack("fake", "voice", tmp_path))
        host = ThreadHost(engine)
        async with trio.open_nursery() as nursery:

            async def run(host=host):
                with suppress(UnavailableError):
                    await use(host, how)

            for _ in range(3):
                nursery.start_soon(run)
            for _ in range(ticks):
                await trio.lowlevel.checkpoint()
            if ticks % 2:
                await trio.sleep(ticks / 10_000)
            if cancelled:
                nursery.cancel_scope.cancel()
            await host.close()
            assert engine.closed
        assert engine.faults == [], f"after {ticks} ticks"
        assert "0 running, 0 waiting" in repr(host)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("bad allocation"),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("[ONNXRuntimeError] : 1 : FAIL : Failed to allocate memory for requested buffer of size 4096"),
        type("OutOfMemoryError", (RuntimeError,), {})("as torch has it"),
    ],
)
async def test_memory_that_runs_out_is_told_apart(host, engine, error):
    assert is_out_of_memory(error)
    engine.error = error
    with pytest.raises(OutOfMemoryError, match="the engine of fake-voice found no memory left"):
        await speak(host, 1)


def test_other_faults_are_not_memorys():
    assert not is_out_of_memory(ValueError("remember the memory"))


async def test_a_model_is_loaded_in_a_thread(tmp_path, monkeypatch):
    pack = VoicePack("mock", "a", tmp_path, sample_rate=24_000)
    opened = await open_thread_host(pack, EngineSettings(concurrency=3))
    assert opened.adapter.concurrency == 3
    await opened.close()
    with pytest.raises(NotFoundError):
        await open_thread_host(VoicePack("none", "a", tmp_path), EngineSettings())
    monkeypatch.setattr("ttsw.adapters.mock.MockAdapter.load", lambda *_: bytes(1 << 62))
    with pytest.raises(OutOfMemoryError, match="found no memory left: MemoryError"):
        await open_thread_host(pack, EngineSettings())


async def test_how_long_the_longest_step_has_run_is_known(host, engine):
    assert host.step_s == pytest.approx(0, abs=1e-3)
    engine.gate.clear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(speak, host, 1)
        with trio.fail_after(5):
            while host.step_s < 0.05:
                await trio.sleep(0.01)
        engine.gate.set()
    assert host.step_s == pytest.approx(0, abs=1e-3)


async def test_preparing_counts_as_a_step(host, engine, monkeypatch):
    monkeypatch.setattr(engine, "prepare", lambda options: engine.gate.wait(20))
    engine.gate.clear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.prepare, {})
        with trio.fail_after(5):
            while host.step_s < 0.05:
                await trio.sleep(0.01)
        engine.gate.set()


async def test_what_goes_wrong_while_preparing_is_told(host, engine, monkeypatch):
    def prepare(options):
        raise NotFoundError("there is no such recording")

    monkeypatch.setattr(engine, "prepare", prepare)
    with pytest.raises(NotFoundError, match="no such recording"):
        await host.prepare({})


# What is based on the model.


async def test_a_voice_shares_the_places_of_its_base(host, engine, tmp_path):
    attached = await host.attach(VoicePack("fake", "anna", tmp_path, base="fake-voice"))
    assert attached.model.info["model_id"] == "fake-anna"
    engine.gate.clear()
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(speak, host, 1)
        while engine.inside < 2:
            await trio.sleep(0.001)
        nursery.start_soon(speak, attached, 1)
        while not attached.waiting:
            await trio.sleep(0.001)
        assert attached.adapter.inside == 0
        engine.gate.set()
    assert attached.adapter.steps == 1


async def test_a_voice_is_closed_while_its_base_speaks(host, engine, tmp_path):
    attached = await host.attach(VoicePack("fake", "anna", tmp_path, base="fake-voice"))
    engine.gate.clear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(speak, host, 3)
        while not engine.inside:
            await trio.sleep(0.001)
        await attached.close()
        engine.gate.set()
    assert (attached.adapter.closed, engine.closed, engine.steps) == (True, False, 3)
    with pytest.raises(UnavailableError, match="model fake-anna was unloaded while it spoke"):
        await speak(attached, 1)


async def test_a_voice_that_cannot_be_loaded(host, tmp_path):
    with pytest.raises(InternalError, match="the engine of fake-broken failed: ValueError: it is of another model"):
        await host.attach(VoicePack("fake", "broken", tmp_path, base="fake-voice"))
    other = ThreadHost(MockAdapter.load(VoicePack("mock", "440hz", tmp_path), EngineSettings()))
    with pytest.raises(UnavailableError, match="no two voices of the family 'mock' share a model"):
        await other.attach(VoicePack("mock", "anna", tmp_path, base="mock-440hz"))
