import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from ttsw.concurrency.coalesce import Coalesced


class Calls:
    """Calls that take a second each, and how many there were."""

    def __init__(self):
        self.begun = self.now = self.most = 0
        self.errors = []

    async def __call__(self):
        self.begun += 1
        self.now += 1
        self.most = max(self.most, self.now)
        number = self.begun
        try:
            await trio.sleep(1)
        finally:
            self.now -= 1
        if self.errors:
            raise self.errors.pop()
        return number


@pytest.fixture
def calls():
    return Calls()


async def gather(ask, count, results):
    async def one():
        results.append(await ask())

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(one)


async def test_a_thousand_who_ask_at_once_share_two_calls(autojump_clock, calls):
    results, began = [], trio.current_time()
    await gather(Coalesced(calls), 1000, results)
    assert (len(results), calls.most) == (1000, 1)
    assert calls.begun <= 2
    assert trio.current_time() - began == pytest.approx(calls.begun)


async def test_a_result_is_never_older_than_its_request(autojump_clock, calls, nursery):
    ask, results = Coalesced(calls), []
    nursery.start_soon(gather, ask, 1, results)
    await trio.sleep(0.5)
    nursery.start_soon(gather, ask, 5, results)
    await trio.sleep(1)
    assert results == [1], "those who came while it ran don't get what may be out of date"
    nursery.start_soon(gather, ask, 1, results)
    await trio.sleep(5)
    assert results == [1, 2, 2, 2, 2, 2, 3]
    assert repr(ask) == "<Joined, 0 waiting>"


@pytest.mark.parametrize("at_s", [0.0, 0.5, 1.0, 1.5])
@pytest.mark.parametrize("victim", [0, 1, 2])
async def test_one_who_is_cancelled_ends_it_for_nobody_else(autojump_clock, calls, at_s, victim):
    ask, results = Coalesced(calls), {}
    scopes = [trio.CancelScope() for _ in range(3)]

    async def one(number):
        with scopes[number]:
            results[number] = await ask()

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(one, number)
            await wait_all_tasks_blocked()
        await trio.sleep(at_s)
        scopes[victim].cancel()
        await trio.sleep(5)
    assert set(results) >= {0, 1, 2} - {victim}
    assert calls.most == 1
    assert await ask() == calls.begun, "and all goes on as before"


async def test_at_whatever_tick_all_but_one_leave_that_one_gets_its_result():
    async def call():
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        return "done"

    for ticks in range(15):
        ask, results = Coalesced(call), []
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as leaving:
                    for _ in range(4):
                        leaving.start_soon(ask)
                    nursery.start_soon(gather, ask, 1, results)
                    for _ in range(ticks):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()
        assert results == ["done"], f"after {ticks} ticks"


async def test_a_failure_is_that_callers_own(autojump_clock, calls):
    ask, results = Coalesced(calls), []
    calls.errors = [LookupError("no")]

    async def fail():
        with pytest.raises(LookupError):
            await ask()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail)
        await wait_all_tasks_blocked()
        nursery.start_soon(gather, ask, 3, results)
    assert results == [2, 2, 2]
