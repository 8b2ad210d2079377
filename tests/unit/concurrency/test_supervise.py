import random

import pytest
import trio

from ttsw.concurrency.supervise import supervise


class Steady(random.Random):
    def uniform(self, low, high):
        return high


class Service:
    """Fails so many times, each time after so many seconds."""

    def __init__(self, failures, runs_s=0.0):
        self.failures, self.runs_s = failures, runs_s
        self.started = []

    async def __call__(self):
        self.started.append(trio.current_time())
        await trio.sleep(self.runs_s)
        if len(self.started) <= self.failures:
            raise OSError("no")


def waits(service):
    return [
        round(later - earlier - service.runs_s, 3)
        for earlier, later in zip(service.started, service.started[1:], strict=False)
    ]


async def test_it_is_started_again_after_longer_and_longer_waits(autojump_clock):
    service = Service(8)
    await supervise("demo", service, chance=Steady())
    assert waits(service) == [1, 2, 4, 8, 16, 32, 60, 60]


async def test_one_that_had_run_for_long_starts_from_the_first_wait(autojump_clock):
    service = Service(3, runs_s=61)
    await supervise("demo", service, chance=Steady())
    assert waits(service) == [1, 1, 1]


async def test_waits_are_spread(autojump_clock):
    service = Service(20)
    await supervise("demo", service)
    assert all(0.5 <= wait / min(2**number, 60) <= 1 for number, wait in enumerate(waits(service)))
    assert len(set(waits(service)[6:])) > 5


async def test_it_ends_with_its_scope(autojump_clock):
    service = Service(10**6)
    with trio.move_on_after(100) as scope:
        await supervise("demo", service)
    assert scope.cancelled_caught


async def test_what_is_no_failure_is_not_caught():
    async def interrupted():
        await trio.lowlevel.checkpoint()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await supervise("demo", interrupted)
