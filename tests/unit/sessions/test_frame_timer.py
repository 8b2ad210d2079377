from itertools import pairwise

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from ttsw.sessions.frame_timer import GRID_S, FrameTimer


@pytest.fixture
async def metronome(nursery):
    metronome = FrameTimer()
    nursery.start_soon(metronome.run)
    return metronome


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_everybody_wakes_at_their_time_and_at_most_one_step_of_the_grid_later(times):
    woken = []

    async def sleeper(metronome, start, after_s):
        await metronome.wait_until(start + after_s)
        woken.append((after_s, trio.current_time() - start))

    async def main():
        metronome = FrameTimer()
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(metronome.run)
            async with trio.open_nursery() as sleepers:
                for after_s in times:
                    sleepers.start_soon(sleeper, metronome, start, after_s)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert len(woken) == len(times)
    for wanted, got in woken:
        assert wanted - 1e-6 <= got <= wanted + GRID_S + 1e-6


async def test_who_comes_later_may_wake_earlier(autojump_clock, metronome, nursery):
    start = trio.current_time()
    nursery.start_soon(metronome.wait_until, start + 5)
    await wait_all_tasks_blocked()
    await metronome.wait_until(start + 1)
    assert trio.current_time() - start < 1.01


async def test_times_that_are_past_are_now(autojump_clock, metronome):
    start = trio.current_time()
    await metronome.wait_until(start - 5)
    assert trio.current_time() - start <= GRID_S


async def test_20_ms_apart_stay_20_ms_apart(autojump_clock, metronome):
    when = trio.current_time() + 0.0123
    times = []
    for _ in range(50):
        await metronome.wait_until(when)
        times.append(trio.current_time())
        when += 0.02
    gaps = {round(later - earlier, 6) for earlier, later in pairwise(times)}
    assert gaps == {0.02}


async def test_who_is_cancelled_no_longer_waits(autojump_clock, metronome):
    with trio.move_on_after(0.1):
        await metronome.wait_until(trio.current_time() + 10)
    assert "0 waiting" in repr(metronome)
    await trio.sleep(11)
    assert "for 0 ticks" in repr(metronome)
