from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from ttsw.adapters.hosts import thread
from ttsw.adapters.hosts.launch import DIE_S
from ttsw.app import GOODBYE_S, STOPPING_S
from ttsw.errors import (
    FailedPreconditionError,
    InternalError,
    NotFoundError,
    OutOfMemoryError,
    ResourceExhaustedError,
    UnavailableError,
)
from ttsw.models.instances import Footprint, ModelState, UnloadCause
from ttsw.models.limits import ResidencyLimits
from ttsw.models.manager import STOP_S, ModelManager
from ttsw.packs.reader import PackError
from ttsw.types import MemorySnapshot, VoicePack

MB = 1_000_000


class Model:
    def __init__(self, source, pack):
        self.source, self.pack = source, pack
        self.closed = 0
        self.broken = trio.Event()

    async def lost(self):
        await self.broken.wait()
        return UnavailableError("its process has ended")

    async def close(self):
        with trio.move_on_after(1, shield=True):
            await trio.lowlevel.checkpoint()
        self.closed += 1
        self.source.ours -= self.source.takes


class Source:
    """Loads models in virtual time, and remembers them. Each takes 10 MB, and twice that while it loads."""

    def __init__(self):
        self.opened: list[Model] = []
        self.places: list[Footprint] = []
        self.bases: list[Model | None] = []
        self.kept: dict[str, tuple[int, int, float]] = {}
        self.packs = {f"f-{name}": VoicePack("f", name, Path()) for name in "abcd"}
        self.now = self.most = self.looks = 0
        self.errors: list[Exception] = []
        self.load_s = 1.0
        self.takes = 10 * MB
        self.ours = 50 * MB
        self.others = 0
        self.sizes: dict[str, int] = {}

    async def weigh(self, model_id):
        await trio.lowlevel.checkpoint()
        if model_id not in self.packs:
            raise NotFoundError(f"no model {model_id!r}")
        size = self.sizes.get(model_id, 0)
        return self.packs[model_id], [Footprint("cpu", size, 2 * size)]

    async def open(self, pack, place, loaded, base):
        self.places.append(place)
        self.bases.append(base)
        self.now += 1
        self.most = max(self.most, self.now)
        self.ours += 2 * self.takes
        try:
            await trio.sleep(self.load_s)
            self.fail()
            loaded()
            await trio.sleep(self.load_s)
        except BaseException:
            self.ours -= self.takes
            raise
        finally:
            self.ours -= self.takes
            self.now -= 1
        self.opened.append(Model(self, pack))
        return self.opened[-1]

    def fail(self):
        if self.errors:
            raise self.errors.pop(0)

    async def look(self):
        self.looks += 1
        await trio.lowlevel.checkpoint()
        return [MemorySnapshot("cpu", 1_000 * MB, self.others + self.ours, self.ours)]

    async def keep(self, pack, device, measured):
        await trio.lowlevel.checkpoint()
        self.kept[pack.model_id] = (measured.size, measured.peak, measured.load_s)
        self.sizes[pack.model_id] = measured.size
        return measured


async def leave_memory():
    """A close that gives nothing back."""
    await trio.lowlevel.checkpoint()


@pytest.fixture
def source():
    return Source()


@pytest.fixture
def start(nursery, source):
    async def start(check_s=float("inf"), **limits):
        manager = ModelManager(source, ResidencyLimits(**limits), check_s=check_s)
        await nursery.start(manager.run)
        return manager

    return start


@pytest.fixture
async def manager(start):
    return await start(cap=2)


async def test_a_load_is_measured_and_what_it_took_is_kept(autojump_clock, manager, source):
    await manager.load("f-a")
    status = manager.status("f-a")
    assert (status.state, status.device, status.size) == (ModelState.READY, "cpu", 10 * MB)
    assert status.load_s == pytest.approx(2)
    assert source.kept == {"f-a": (10 * MB, 20 * MB, pytest.approx(2))}
    assert await manager.load("f-a") is None
    assert len(source.opened) == 1
    assert "f-a ready" in repr(manager)


async def test_a_second_load_goes_by_what_the_first_took(autojump_clock, start, source):
    manager = await start(budget={"cpu": 15 * MB})
    await manager.load("f-a")
    await manager.unload("f-a")
    with pytest.raises(ResourceExhaustedError, match="needs 20 MB on cpu, where 15 MB of 15 MB"):
        await manager.load("f-a")


async def test_two_loads_at_once_blur_each_others_measure(autojump_clock, start, source):
    manager = await start(loads=2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(manager.load, "f-a")
        await trio.sleep(0.5)
        nursery.start_soon(manager.load, "f-b")
    assert source.kept == {}
    assert source.most == 2


async def test_states_on_the_way_in(autojump_clock, manager, nursery):
    seen = []
    nursery.start_soon(manager.load, "f-a")
    for _ in range(3):
        await trio.sleep(0.75)
        seen.append(manager.status("f-a").state.value)
    assert seen == ["loading", "warming", "ready"]
    assert manager.status("f-b").state is ModelState.ABSENT


async def test_a_thousand_who_want_the_same_join_one_load(autojump_clock, manager, source):
    got = []

    async def want():
        async with manager.lease("f-a") as model:
            got.append(model)
            await trio.sleep(10)

    async with trio.open_nursery() as nursery:
        for _ in range(1_000):
            nursery.start_soon(want)
        await trio.sleep(3)
        assert manager.status("f-a").leases == 1_000
    assert set(got) == set(source.opened)
    assert len(source.opened) == 1
    assert manager.status("f-a").leases == 0
    assert source.looks < 100, "no thundering herd behind the load either"


async def test_loads_wait_for_their_turn(autojump_clock, manager, source):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(manager.load, "f-a")
        nursery.start_soon(manager.load, "f-b")
        await trio.sleep(0.1)
        assert manager.status("f-b").state is ModelState.LOADING
    assert source.most == 1


async def test_room_is_made_before_a_load_by_the_one_unused_for_longest(autojump_clock, manager, source):
    await manager.load("f-a")
    await trio.sleep(1)
    await manager.load("f-b")
    await trio.sleep(1)
    await manager.load("f-a")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(manager.load, "f-c")
        await trio.sleep(0.5)
        assert list(manager.residents) == ["f-a"], "the old one goes before the new one comes"
    assert set(manager.residents) == {"f-a", "f-c"}
    assert [model.closed for model in source.opened] == [0, 1, 0]
    assert manager.unloads == {UnloadCause.ROOM: 1}


async def test_memory_must_be_back_before_the_next_load_counts_on_it(autojump_clock, start, source):
    source.takes = 100 * MB
    source.sizes = dict.fromkeys(source.packs, 100 * MB)
    manager = await start(budget={"cpu": 200 * MB})
    await manager.load("f-a")

    async def close_slowly():
        await trio.sleep(2)  # the device's driver takes its time
        source.ours -= 100 * MB

    source.opened[0].close = leave_memory
    async with trio.open_nursery() as nursery:
        started = trio.current_time()
        nursery.start_soon(close_slowly)
        await manager.load("f-b")
    assert trio.current_time() - started == pytest.approx(4, abs=0.2)


async def test_memory_that_never_comes_back_is_waited_for_no_longer_than_5_s(autojump_clock, start, source):
    source.takes = 100 * MB
    source.sizes = dict.fromkeys(source.packs, 100 * MB)
    manager = await start(budget={"cpu": 200 * MB})
    await manager.load("f-a")
    source.opened[0].close = leave_memory
    started = trio.current_time()
    await manager.unload("f-a")
    assert trio.current_time() - started == pytest.approx(5, abs=0.2)
    assert manager.residents == {}


async def test_what_others_take_of_the_device_counts(autojump_clock, start, source):
    source.sizes = dict.fromkeys(source.packs, 10 * MB)
    manager = await start(check_s=30)
    await manager.load("f-a")
    source.others = 940 * MB
    with pytest.raises(ResourceExhaustedError, match="needs 20 MB on cpu, where 0 MB of 10 MB for models are free"):
        await manager.load("f-b")
    source.others = 950 * MB
    await trio.sleep(60)
    assert manager.unloads == {UnloadCause.PRESSURE: 1}


async def test_a_model_in_use_is_never_evicted(autojump_clock, manager):
    async with manager.lease("f-a", holder="session 1"), manager.lease("f-b"):
        with pytest.raises(ResourceExhaustedError, match=r"no room for model 'f-c'.*resident_cap is 2.*by session 1"):
            await manager.load("f-c")
    await manager.load("f-c")


async def test_a_model_in_use_is_not_unloaded(autojump_clock, manager, source):
    async with manager.lease("f-a", holder="session 1"):
        with pytest.raises(FailedPreconditionError, match="in use by session 1; wait until that has ended"):
            await manager.unload("f-a")
    await manager.unload("f-a")
    await manager.unload("f-a")
    assert source.opened[0].closed == 1
    with pytest.raises(NotFoundError):
        await manager.unload("f-x")


async def test_by_force_it_is_unloaded_as_soon_as_its_holders_let_go(autojump_clock, manager, source, nursery):
    asked = []
    lease = await manager.acquire("f-a", revoked=lambda: asked.append(1))

    def give_back():
        other.release()

    other = await manager.acquire("f-a", revoked=give_back)
    nursery.start_soon(lambda: manager.unload("f-a", force=True))
    await trio.sleep(10)
    assert asked == [1]
    assert lease.revoked
    assert source.opened[0].closed == 0
    assert manager.status("f-a").state is ModelState.DRAINING
    async with manager.lease("f-a") as fresh:
        assert fresh is not lease.value, "who wants it now gets it loaded again"
    lease.release()
    lease.release()
    await trio.sleep(1)
    assert source.opened[0].closed == 1


async def test_a_model_that_loads_for_somebody_is_not_unloaded(autojump_clock, manager, nursery):
    nursery.start_soon(manager.load, "f-a")
    await trio.sleep(0.5)
    with pytest.raises(FailedPreconditionError, match="being loaded for LoadModel"):
        await manager.unload("f-a")


async def test_by_force_its_load_is_cut_off(autojump_clock, manager, source):
    async def want():
        with pytest.raises(UnavailableError, match="unloaded by request before it was ready"):
            await manager.load("f-a")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(want)
        await trio.sleep(0.5)
        await manager.unload("f-a", force=True)
    assert source.opened == []
    assert manager.status("f-a") == manager.status("f-b")
    await manager.load("f-a")


async def test_a_failed_load_says_why_leaves_nothing_and_backs_off(autojump_clock, manager, source):
    source.errors = [UnavailableError("weights are corrupt"), ZeroDivisionError("oh")]
    with pytest.raises(UnavailableError, match="weights are corrupt"):
        await manager.acquire("f-a")
    with pytest.raises(UnavailableError, match=r"is not loaded again for 1\.0 s: weights are corrupt"):
        await manager.acquire("f-a")
    assert manager.status("f-a").error == "weights are corrupt"
    with pytest.raises(InternalError, match="loading f-a failed: ZeroDivisionError: oh"):
        await manager.load("f-a")
    assert manager.residents == {}
    assert source.ours == 50 * MB
    await manager.load("f-a")
    assert manager.status("f-a").error == ""
    assert (manager.loads, manager.failed_loads) == (1, 2)


async def test_out_of_memory_evicts_what_is_idle_and_tries_once_more(autojump_clock, start, source):
    manager = await start()
    await manager.load("f-a")
    source.errors = [OutOfMemoryError("full")]
    await manager.load("f-b")
    assert list(manager.residents) == ["f-b"]
    assert manager.unloads == {UnloadCause.OUT_OF_MEMORY: 1}
    async with manager.lease("f-b", holder="session 1"):
        source.errors = [OutOfMemoryError("full")]
        with pytest.raises(OutOfMemoryError, match=r"full; cpu is held by f-b \(10 MB, in use by session 1\)"):
            await manager.load("f-c")


async def test_who_runs_out_of_memory_while_speaking_has_what_is_idle_evicted(autojump_clock, start, source):
    manager = await start()
    await manager.load("f-a")
    assert not await manager.relieve("f-b"), "nobody speaks with it"
    async with manager.lease("f-b"):
        assert await manager.relieve("f-b")
        assert list(manager.residents) == ["f-b"]
        assert not await manager.relieve("f-b"), "there is nothing left that could go"


async def test_one_who_stops_waiting_does_not_end_the_load(autojump_clock, manager, source):
    with trio.move_on_after(0.5):
        await manager.load("f-a")
    await trio.sleep(2)
    assert list(manager.residents) == ["f-a"]


async def test_one_who_stops_waiting_in_line_is_forgotten(autojump_clock, manager, source, nursery):
    nursery.start_soon(manager.load, "f-a")
    await trio.sleep(0.1)
    with trio.move_on_after(0.5):
        await manager.load("f-b")
    await trio.sleep(10)
    assert list(manager.residents) == ["f-a"]


@pytest.mark.parametrize("steps", range(12))
async def test_cancelled_at_any_point_a_taker_leaves_no_lease(manager, source, steps):
    source.load_s = 0
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def take():
                await manager.acquire("f-a")
                scope.cancel()

            nursery.start_soon(take)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            scope.cancel()
    taken = manager.status("f-a").leases
    await wait_all_tasks_blocked()
    assert manager.status("f-a").leases == taken <= 1
    if not taken:
        await manager.unload("f-a")
        assert manager.residents == {}


async def test_a_fresh_load_replaces_the_old_once_nobody_uses_it(autojump_clock, manager, source):
    async with manager.lease("f-a") as old:
        async with manager.lease("f-a", fresh=True) as new:
            assert new is not old
            assert old.closed == 0
        async with manager.lease("f-a") as again:
            assert again is new
    await trio.sleep(1)
    assert old.closed == 1
    assert new.closed == 0
    await manager.load("f-a", fresh=True)
    await trio.sleep(1)
    assert new.closed == 1


async def test_everything_is_unloaded_in_the_end(autojump_clock, source):
    async with trio.open_nursery() as nursery:
        manager = ModelManager(source, ResidencyLimits())
        await nursery.start(manager.run)
        await manager.load("f-a")
        lease = await manager.acquire("f-b")
        await manager.load("f-b", fresh=True)
        nursery.start_soon(manager.load, "f-c")
        await trio.sleep(1.5)
        nursery.cancel_scope.cancel()
    assert [model.closed for model in source.opened] == [1, 1, 1]
    assert source.ours == 50 * MB
    lease.release()
    with pytest.raises(UnavailableError, match="the worker is stopping"):
        await manager.load("f-a")


async def test_a_close_that_fails_is_logged_and_harms_nobody(autojump_clock, manager, source):
    async def fail():
        await trio.lowlevel.checkpoint()
        raise OSError("stuck")

    await manager.load("f-a")
    source.opened[0].close = fail
    await manager.unload("f-a")
    await manager.load("f-a")


async def test_what_nobody_has_used_for_its_lifetime_goes(autojump_clock, start, source):
    manager = await start(check_s=1, ttl_s=10, min_residency_s=30, pinned=frozenset({"f-a"}))
    for model_id in ("f-a", "f-b", "f-c"):
        await manager.load(model_id)
    async with manager.lease("f-c"):
        await trio.sleep(25)
        assert set(manager.residents) == {"f-a", "f-b", "f-c"}, "too young to go"
        assert manager.status("f-b").idle_s == pytest.approx(27, abs=0.5)
        await trio.sleep(10)
        assert set(manager.residents) == {"f-a", "f-c"}, "unused for long enough; the others are kept, or in use"
    await trio.sleep(8)
    assert "f-c" in manager.residents, "it was in use until just now"
    await trio.sleep(4)
    assert set(manager.residents) == {"f-a"}
    await manager.unload("f-a")
    assert [model.closed for model in source.opened] == [1, 1, 1]


async def test_loaded_ahead_into_free_room_only(autojump_clock, manager):
    await manager.load("f-a")
    await manager.load("f-b", speculative=True)
    with pytest.raises(ResourceExhaustedError, match="may not evict others"):
        await manager.load("f-c", speculative=True)


async def test_load_get_adapter_release(autojump_clock, manager, source):
    with pytest.raises(FailedPreconditionError, match="'f-a' is not in memory; load it first"):
        manager.get_adapter("f-a")
    await manager.load("f-a")
    assert manager.get_adapter("f-a") is manager.get_adapter("f-a") is source.opened[0]
    assert manager.status("f-a").leases == 2
    manager.release("f-a")
    with pytest.raises(FailedPreconditionError, match="in use by get_adapter"):
        await manager.unload("f-a")
    manager.release("f-a")
    with pytest.raises(FailedPreconditionError, match="get_adapter holds no lease on model 'f-a'"):
        manager.release("f-a")
    await manager.unload("f-a")


async def test_a_model_that_cannot_be_looked_at(autojump_clock, manager, source):
    async def weigh(model_id):
        await trio.lowlevel.checkpoint()
        raise source.errors.pop()

    source.weigh = weigh
    source.errors = [PackError("broken"), PackError("broken"), OSError("no disk")]
    with pytest.raises(InternalError, match="inspecting model f-a failed: OSError: no disk"):
        await manager.load("f-a")
    with pytest.raises(PackError):
        await manager.load("f-a")
    await manager.unload("f-a")


async def test_a_model_that_is_lost_is_let_go_of_and_loaded_anew(autojump_clock, manager, source, nursery):
    asked_back = trio.Event()
    lease = await manager.acquire("f-a", revoked=asked_back.set)
    source.opened[0].broken.set()
    with trio.fail_after(1):
        await asked_back.wait()
    assert manager.status("f-a").size == 0
    with await manager.acquire("f-a") as other:
        assert other.value is source.opened[1]
    lease.release()
    await wait_all_tasks_blocked()
    await manager.unload("f-a")
    assert [model.closed for model in source.opened] == [1, 1]
    assert manager.unloads == {UnloadCause.LOST: 1, UnloadCause.ASKED: 1}
    assert not nursery.child_tasks - {task for task in nursery.child_tasks if "run" in task.name}


async def test_a_model_that_is_lost_again_and_again_backs_off(autojump_clock, manager, source):
    for number in range(2):
        await manager.load("f-a")
        source.opened[number].broken.set()
        await wait_all_tasks_blocked()
        await trio.sleep(0.1)
    with pytest.raises(UnavailableError, match="its process has ended"):
        await manager.acquire("f-a")
    await trio.sleep(1)
    (await manager.acquire("f-a")).release()


async def test_who_watches_over_a_model_leaves_with_it(autojump_clock, manager, source):
    await manager.load("f-a")
    await manager.unload("f-a")
    source.opened[0].broken.set()
    await wait_all_tasks_blocked()
    assert manager.status("f-a").state is ModelState.ABSENT
    assert manager.unloads == {UnloadCause.ASKED: 1}


# What is based on another.


@pytest.fixture
def on_a(source):
    for name in ("x", "y"):
        source.packs[f"f-{name}"] = VoicePack("f", name, Path(), base="f-a")


async def test_a_base_is_loaded_once_and_given_to_what_stands_on_it(autojump_clock, manager, source, on_a):
    async with manager.lease("f-x") as x, manager.lease("f-y") as y, manager.lease("f-a") as a:
        assert [opened.pack.model_id for opened in source.opened] == ["f-a", "f-x", "f-y"]
        assert source.bases == [None, a, a]
        assert {x, y, a} == set(source.opened)
    await manager.unload("f-x")
    assert set(manager.residents) == {"f-a", "f-y"}
    await manager.load("f-x")
    assert source.bases[3:] == [a], "the base is not loaded again"


async def test_a_base_without_which_a_voice_cannot_be(autojump_clock, manager, source, on_a):
    source.errors = [UnavailableError("its file is damaged")]
    with pytest.raises(UnavailableError, match="model 'f-x' is based on 'f-a': its file is damaged"):
        await manager.load("f-x")
    del source.packs["f-a"]
    with pytest.raises(NotFoundError, match="model 'f-x' is based on 'f-a': no model 'f-a'"):
        await manager.load("f-x")


async def test_unloading_a_base_takes_along_what_stands_on_it(autojump_clock, manager, source, on_a):
    await manager.load("f-x")
    await manager.unload("f-a")
    assert manager.residents == {}
    assert [model.closed for model in source.opened] == [1, 1]


async def test_with_a_lost_base_all_is_lost_that_stands_on_it(autojump_clock, manager, source, on_a):
    lease = await manager.acquire("f-x")
    source.opened[0].broken.set()
    await wait_all_tasks_blocked()
    assert manager.status("f-x").state is ModelState.DRAINING
    assert lease.revoked
    lease.release()
    async with manager.lease("f-x"):
        assert len(source.opened) == 4
    assert [model.closed for model in source.opened] == [1, 1, 0, 0]


async def test_in_the_end_what_stands_on_another_goes_first(autojump_clock, source, on_a):
    order = []
    async with trio.open_nursery() as nursery:
        manager = ModelManager(source, ResidencyLimits())
        await nursery.start(manager.run)
        await manager.load("f-x")
        for model in source.opened:
            model.close = lambda name=model.pack.name: closing(order, name)
        nursery.cancel_scope.cancel()
    assert order == ["x", "a"]


async def closing(order, name):
    order.append(name)


async def hang(order, name):
    """A close that takes all of its own time, shielded as a host's is."""
    with trio.move_on_after(CLOSE_S, shield=True):
        await trio.sleep_forever()
    order.append(name)
    raise InternalError(f"{name} can't be unloaded")


CLOSE_S = 30


async def test_in_the_end_copies_that_hang_are_unloaded_at_the_same_time(autojump_clock, source):
    order = []
    async with trio.open_nursery() as nursery:
        manager = ModelManager(source, ResidencyLimits())
        await nursery.start(manager.run)
        for name in "abcd":
            await manager.load(f"f-{name}")
        for model in source.opened[:3]:
            model.close = partial(hang, order, model.pack.name)
        source.opened[3].close = partial(closing, order, "d")
        began = trio.current_time()
        nursery.cancel_scope.cancel()
    assert trio.current_time() - began == pytest.approx(CLOSE_S)
    assert order[0] == "d"
    assert sorted(order) == ["a", "b", "c", "d"]


async def test_in_the_end_nothing_begins_to_go_when_the_time_is_over(autojump_clock, source, on_a, capsys):
    order = []
    async with trio.open_nursery() as nursery:
        manager = ModelManager(source, ResidencyLimits())
        await nursery.start(manager.run)
        await manager.load("f-x")
        await manager.load("f-b")
        for model in source.opened:
            model.close = partial(hang if model.pack.name == "x" else closing, order, model.pack.name)
        began = trio.current_time()
        nursery.cancel_scope.cancel()
    assert order == ["b", "x"], "the base is still in use"
    assert trio.current_time() - began == pytest.approx(max(STOP_S, CLOSE_S))
    assert "shutdown left models in memory" in capsys.readouterr().out


def test_the_last_resort_leaves_the_models_their_time():
    assert STOPPING_S > GOODBYE_S + STOP_S + thread.CLOSE_S + DIE_S


async def test_who_leaves_while_the_base_loads_leaves_nothing_waiting(autojump_clock, manager, source, on_a):
    with trio.move_on_after(0.5):
        await manager.load("f-x")
    await trio.sleep(10)
    assert set(manager.residents) == {"f-a"}
    await manager.load("f-y")
    assert set(manager.residents) == {"f-a", "f-y"}
