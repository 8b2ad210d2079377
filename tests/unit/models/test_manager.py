from contextlib import suppress
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from ttsw.errors import FailedPreconditionError, InternalError, NotFoundError, ResourceExhaustedError, UnavailableError
from ttsw.models.manager import Lifetime, ModelManager
from ttsw.models.packs import Shelf
from ttsw.types import VoicePack


class Model:
    def __init__(self, pack: VoicePack) -> None:
        self.pack = pack
        self.closed = 0

    async def close(self) -> None:
        with trio.move_on_after(1, shield=True):
            await trio.lowlevel.checkpoint()
        self.closed += 1


class Opener:
    """Loads models in virtual time, and remembers them."""

    def __init__(self) -> None:
        self.opened: list[Model] = []
        self.now = self.most = 0
        self.error: Exception | None = None
        self.load_s = 1.0

    async def __call__(self, pack: VoicePack) -> Model:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await trio.sleep(self.load_s)
        finally:
            self.now -= 1
        if self.error is not None:
            raise self.error
        self.opened.append(Model(pack))
        return self.opened[-1]


PACKS = {f"f-{name}": VoicePack("f", name, Path()) for name in "abcd"}


@pytest.fixture
def opener():
    return Opener()


@pytest.fixture
async def manager(nursery, opener):
    manager = ModelManager(Shelf(PACKS, {}), opener, resident_cap=2)
    await nursery.start(manager.run)
    return manager


async def test_a_load_is_measured_and_kept(autojump_clock, manager, opener):
    resident = await manager.load("f-a")
    assert resident.load_s == pytest.approx(1)
    assert await manager.load("f-a") is resident
    assert len(opener.opened) == 1
    assert "f-a" in repr(manager)


async def test_a_thousand_who_want_the_same_join_one_load(autojump_clock, manager, opener):
    got = []

    async def want():
        async with manager.lease("f-a") as model:
            got.append(model)
            await trio.sleep(10)

    async with trio.open_nursery() as nursery:
        for _ in range(1_000):
            nursery.start_soon(want)
        await trio.sleep(2)
        assert manager.residents["f-a"].leases == 1_000
    assert len(opener.opened) == 1
    assert set(got) == set(opener.opened)
    assert manager.residents["f-a"].leases == 0


async def test_loads_wait_for_their_turn(autojump_clock, manager, opener):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(manager.load, "f-a")
        nursery.start_soon(manager.load, "f-b")
        await wait_all_tasks_blocked()
        assert manager.loading == {"f-a", "f-b"}
    assert opener.most == 1


async def test_room_is_made_before_a_load_by_the_one_unused_for_longest(autojump_clock, manager, opener):
    await manager.load("f-a")
    await manager.load("f-b")
    await trio.sleep(1)
    await manager.load("f-a")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(manager.load, "f-c")
        await trio.sleep(0.5)
        assert list(manager.residents) == ["f-a"], "the old one goes before the new one comes"
    assert set(manager.residents) == {"f-a", "f-c"}
    assert [model.closed for model in opener.opened] == [0, 1, 0]


async def test_a_model_in_use_is_never_evicted(autojump_clock, manager):
    async with manager.lease("f-a"), manager.lease("f-b"):
        with pytest.raises(ResourceExhaustedError, match=r"no room for model 'f-c'.*resident_cap is 2.*f-a \(1\), f-b"):
            await manager.load("f-c")
    await manager.load("f-c")


async def test_a_model_in_use_is_not_unloaded(autojump_clock, manager, opener):
    async with manager.lease("f-a"):
        with pytest.raises(FailedPreconditionError, match="in use by 1 session; end them first"):
            await manager.unload("f-a")
    await manager.unload("f-a")
    await manager.unload("f-a")
    assert opener.opened[0].closed == 1
    with pytest.raises(NotFoundError):
        await manager.unload("f-x")


async def test_a_model_that_loads_is_not_unloaded(autojump_clock, manager, nursery):
    nursery.start_soon(manager.load, "f-a")
    await wait_all_tasks_blocked()
    with pytest.raises(FailedPreconditionError, match="being loaded"):
        await manager.unload("f-a")


async def test_a_failed_load_says_why_and_leaves_nothing(autojump_clock, manager, opener):
    opener.error = UnavailableError("weights are corrupt")
    with pytest.raises(UnavailableError, match="weights are corrupt"):
        await manager.load("f-a")
    opener.error = ZeroDivisionError("oh")
    with pytest.raises(InternalError, match="loading f-a failed: ZeroDivisionError: oh"):
        await manager.load("f-a")
    opener.error = None
    await manager.load("f-a")
    assert manager.loading == frozenset()


async def test_one_who_stops_waiting_does_not_end_the_load(autojump_clock, manager, opener):
    with trio.move_on_after(0.5):
        await manager.load("f-a")
    await trio.sleep(1)
    assert list(manager.residents) == ["f-a"]


async def test_a_fresh_load_replaces_the_old_once_nobody_uses_it(autojump_clock, manager, opener):
    async with manager.lease("f-a") as old:
        async with manager.lease("f-a", fresh=True) as new:
            assert new is not old
            assert old.closed == 0
        async with manager.lease("f-a") as again:
            assert again is new
    assert old.closed == 1
    assert new.closed == 0
    await manager.load("f-a", fresh=True)
    assert new.closed == 1


async def test_a_model_unloaded_before_its_borrower_woke_is_loaded_again(manager, opener, nursery):
    """Between a load's end and the borrower's waking others may run: an unload then must not leave a dead model."""
    opener.load_s = 0

    async def unload_again_and_again():
        while True:
            with suppress(FailedPreconditionError):
                await manager.unload("f-a")
            await trio.lowlevel.checkpoint()

    nursery.start_soon(unload_again_and_again)
    with trio.fail_after(10):
        for _ in range(50):
            async with manager.lease("f-a") as model:
                assert model.closed == 0
                await trio.lowlevel.checkpoint()
                assert model.closed == 0
            for _ in range(3):
                await trio.lowlevel.checkpoint()
    assert len(opener.opened) > 1


async def test_everything_is_unloaded_in_the_end(autojump_clock, opener):
    async with trio.open_nursery() as nursery:
        manager = ModelManager(Shelf(PACKS, {}), opener)
        await nursery.start(manager.run)
        await manager.load("f-a")
        async with manager.lease("f-b"):
            await manager.load("f-b", fresh=True)
            nursery.start_soon(manager.load, "f-c")
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert [model.closed for model in opener.opened] == [1, 1, 1]


async def test_a_close_that_fails_is_logged_and_harms_nobody(autojump_clock, manager, opener):
    async def fail():
        await trio.lowlevel.checkpoint()
        raise OSError("stuck")

    await manager.load("f-a")
    opener.opened[0].close = fail
    await manager.unload("f-a")
    await manager.load("f-a")


async def test_what_nobody_has_used_for_its_lifetime_goes(autojump_clock, opener, nursery):
    lifetime = Lifetime(ttl_s=10, min_residency_s=30, check_s=1, kept=frozenset({"f-a"}))
    manager = ModelManager(Shelf(PACKS, {}), opener, resident_cap=4, lifetime=lifetime)
    await nursery.start(manager.run)
    for model_id in ("f-a", "f-b", "f-c"):
        await manager.load(model_id)
    async with manager.lease("f-c"):
        await trio.sleep(25)
        assert set(manager.residents) == {"f-a", "f-b", "f-c"}, "too young to go"
        await trio.sleep(10)
        assert set(manager.residents) == {"f-a", "f-c"}, "unused for long enough; the others are kept, or in use"
    await trio.sleep(8)
    assert "f-c" in manager.residents, "it was in use until just now"
    await trio.sleep(4)
    assert set(manager.residents) == {"f-a"}
    await manager.unload("f-a")
    assert [model.closed for model in opener.opened] == [1, 1, 1]


async def test_without_a_lifetime_models_stay(autojump_clock, manager):
    await manager.load("f-a")
    await trio.sleep(80_000)
    assert list(manager.residents) == ["f-a"]
