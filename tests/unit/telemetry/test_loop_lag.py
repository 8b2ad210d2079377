import time

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from ttsw.telemetry.loop_lag import INTERVAL_S, MAX_LAG_S, watch_loop_lag


async def test_a_loop_that_keeps_time_has_no_lag(nursery, autojump_clock):
    lags = []
    await nursery.start(watch_loop_lag, lags.append)
    await trio.sleep(10 * INTERVAL_S + 0.01)
    assert lags == pytest.approx([0.0] * 10)


async def test_a_standstill_counts_with_each_wake_up_that_it_took(nursery, mock_clock: MockClock):
    lags = []
    await nursery.start(watch_loop_lag, lags.append)
    mock_clock.jump(0.45)
    await wait_all_tasks_blocked()
    assert lags == pytest.approx([0.35, 0.25, 0.15, 0.05])


async def test_a_machine_that_slept_for_a_night_counts_as_little(nursery, mock_clock: MockClock):
    lags = []
    await nursery.start(watch_loop_lag, lags.append)
    mock_clock.jump(8 * 3600)
    await wait_all_tasks_blocked()
    assert max(lags) == pytest.approx(MAX_LAG_S)
    assert len(lags) <= MAX_LAG_S / INTERVAL_S + 2


def hold_up(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


async def test_a_real_loop_that_is_held_up(nursery):
    lags = []
    await nursery.start(watch_loop_lag, lags.append)
    hold_up(0.3)
    await trio.sleep(INTERVAL_S)
    assert 0.15 < max(lags) < 5
