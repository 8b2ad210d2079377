"""Threads make steps for each other, leave at any time, and harm nobody. No model is needed for that."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event, get_ident
from time import monotonic

import pytest
import trio

from ttsw.adapters.pytorch.batch import Batch


class Row:
    """Accepts numbers until it has `most`."""

    def __init__(self, name="", most=1_000_000, fault: Callable | None = None):
        self.name, self.most, self.fault = name, most, fault
        self.taken = []

    @property
    def count(self):
        return len(self.taken)

    @property
    def done(self):
        return self.count >= self.most

    def accept(self, result):
        if self.fault is not None and self.fault(self.count):
            raise ValueError(f"row {self.name} can't")
        self.taken.append(result)


class Steps:
    """A step that notes whom it serves, in which thread, and lets a test look on."""

    def __init__(self, look=lambda rows: None, fail=lambda rows: False):
        self.served, self.threads, self.running = [], set(), 0
        self.look, self.fail = look, fail

    def __call__(self, rows):
        self.running += 1
        assert self.running == 1, "two steps at once"
        try:
            self.served.append([row.name for row in rows])
            self.threads.add(get_ident())
            self.look(rows)
            if self.fail(rows):
                raise RuntimeError("the step failed")
            return [len(self.served)] * len(rows)
        finally:
            self.running -= 1


async def run_rows(batch, rows, tokens):
    async with trio.open_nursery() as nursery:
        for row in rows:
            nursery.start_soon(trio.to_thread.run_sync, batch.advance, row, tokens)


def test_alone_a_thread_makes_its_own_steps():
    steps = Steps()
    batch, row = Batch(steps, 4), Row("a", most=7)
    batch.advance(row, 5)
    assert row.taken == [1, 2, 3, 4, 5]
    batch.advance(row, 5)
    assert row.count == 7, "there was no more"
    batch.advance(row, 5)
    assert len(steps.served) == 7
    assert repr(batch) == "<Batch: 0 waiting>"


class Together:
    """Holds the first step back until so many threads are there."""

    def __init__(self, count):
        self.count, self.batch, self.met = count, None, False

    def __call__(self, _rows):
        until = monotonic() + 5
        while not self.met:
            self.met = len(self.batch._seats) >= self.count
            assert monotonic() < until


def batch_of(count, places=4, **steps):
    """A batch whose first step is made when so many rows are there, and its steps."""
    together = Together(count)
    steps = Steps(together, **steps)
    together.batch = Batch(steps, places)
    return together.batch, steps


async def test_rows_that_wait_share_steps_and_each_gets_one_token_a_step():
    batch, steps = batch_of(3)
    rows = [Row(name) for name in "abc"]
    await run_rows(batch, rows, 10)
    assert [row.count for row in rows] == [10, 10, 10]
    shared = [names for names in steps.served if len(names) == 3]
    assert len(shared) == 9
    assert len(steps.served) == 11, "the first was made for one, the last for two"
    assert repr(batch) == "<Batch: 0 waiting>"


async def test_more_rows_than_places_take_turns():
    batch, steps = batch_of(5, places=2)
    rows, counts, meet = [Row(name) for name in "abcde"], [], steps.look

    def look(served):
        meet(served)
        counts.append([row.count for row in rows])

    steps.look = look
    await run_rows(batch, rows, 12)
    assert [row.count for row in rows] == [12] * 5
    assert max(map(len, steps.served)) == 2
    assert len(counts) == 31, "60 tokens, the first of them alone"
    assert all(max(each) - min(each) <= 2 for each in counts)


async def test_a_row_that_has_what_it_wants_goes_on_while_others_are_served():
    batch, steps = batch_of(2)
    meet, gone = steps.look, Event()

    def look(rows):
        meet(rows)
        if rows[0].name == "long" and rows[0].count == 20:
            assert gone.wait(5), "the short one still waits"

    steps.look = look
    long, short = Row("long"), Row("short")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, batch.advance, long, 40)
        await trio.to_thread.run_sync(batch.advance, short, 3)
        gone.set()
    assert (long.count, short.count) == (40, 3)


@pytest.mark.parametrize("victim", ["leader", "follower"])
async def test_one_that_is_cancelled_leaves_and_the_others_go_on(victim):
    batch, steps = batch_of(3)
    meet, in_step, cancelled = steps.look, Event(), Event()

    def look(rows):
        meet(rows)
        if cancelled.is_set():
            Event().wait(0.03)  # longer than a follower takes to look
        if len(rows) == 3 and not in_step.is_set():
            leads.append(get_ident())
            in_step.set()
            assert cancelled.wait(5)

    steps.look, leads, threads, scopes = look, [], {}, {}
    rows = {name: Row(name) for name in "abc"}

    async def run(name):
        def work():
            threads[name] = get_ident()
            batch.advance(rows[name], 20)

        with trio.CancelScope() as scopes[name]:
            await trio.to_thread.run_sync(work)

    async with trio.open_nursery() as nursery:
        for name in rows:
            nursery.start_soon(run, name)
        assert await trio.to_thread.run_sync(in_step.wait, 5)
        leader = next(name for name, thread in threads.items() if thread == leads[0])
        name = leader if victim == "leader" else next(each for each in rows if each != leader)
        count = rows[name].count
        scopes[name].cancel()
        cancelled.set()
    assert scopes[name].cancelled_caught
    # the step under way, and of a follower those that begin before it looks: here one
    assert rows[name].count <= count + (1 if victim == "leader" else 2), "work for nobody went on"
    assert [row.count for each, row in rows.items() if each != name] == [20, 20]
    assert repr(batch) == "<Batch: 0 waiting>"


async def test_one_cancelled_before_it_begins_costs_no_step():
    steps = Steps()
    batch = Batch(steps, 4)
    with trio.CancelScope() as scope:
        scope.cancel()
        await trio.to_thread.run_sync(batch.advance, Row("a"), 5)
    assert scope.cancelled_caught
    assert steps.served == []
    await trio.to_thread.run_sync(batch.advance, Row("b"), 5)
    assert len(steps.served) == 5


async def collect(batch, rows, tokens):
    errors = {}

    async def run(row):
        try:
            await trio.to_thread.run_sync(batch.advance, row, tokens)
        except (ValueError, RuntimeError) as error:
            errors[row.name] = str(error)

    async with trio.open_nursery() as nursery:
        for row in rows:
            nursery.start_soon(run, row)
    return errors


async def test_a_row_that_fails_fails_alone():
    batch, _ = batch_of(3)
    rows = [Row("a"), Row("b", fault=lambda count: count == 4), Row("c")]
    assert await collect(batch, rows, 10) == {"b": "row b can't"}
    assert [row.count for row in rows] == [10, 4, 10]


async def test_a_step_that_fails_for_one_is_made_again_for_each():
    batch, _ = batch_of(3, fail=lambda rows: any(row.name == "b" and row.count == 4 for row in rows))
    rows = [Row(name) for name in "abc"]
    assert await collect(batch, rows, 10) == {"b": "the step failed"}
    assert [row.count for row in rows] == [10, 4, 10]
    assert repr(batch) == "<Batch: 0 waiting>"


async def test_a_row_that_a_step_leaves_out_is_served_by_a_later_one():
    def step(rows):
        return [1 if number == 0 else None for number, _ in enumerate(rows)]

    batch, rows = Batch(step, 4), [Row(name) for name in "abc"]
    await run_rows(batch, rows, 6)
    assert [row.count for row in rows] == [6, 6, 6]


async def test_many_come_and_go_and_all_are_served():
    steps = Steps()
    batch = Batch(steps, 3)
    rows = [Row(str(number), most=number % 7 + 3) for number in range(24)]

    async def run(row):
        while not row.done:
            await trio.to_thread.run_sync(batch.advance, row, 2)

    async with trio.open_nursery() as nursery:
        for row in rows:
            nursery.start_soon(run, row)
    assert all(row.count == row.most for row in rows)
    assert sum(map(len, steps.served)) == sum(row.most for row in rows)


def test_in_a_thread_that_is_not_trios_it_works_too():
    row = Row("a")
    thread = ThreadPoolExecutor(1)
    thread.submit(Batch(Steps(), 1).advance, row, 3).result(5)
    thread.shutdown()
    assert row.count == 3
