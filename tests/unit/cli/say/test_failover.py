"""A text that is read again, and a listener who hears once. Whole attempts are in tests/integration/test_roaming.py."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from ttsw.cli.say.failover import Script, _nobody, _Once
from ttsw.registry.discovery import Wanted
from ttsw.registry.record import WorkerRecord


class Source:
    """Gives its pieces when the test lets it."""

    def __init__(self, *pieces):
        self.pieces, self.given, self.asked = pieces, trio.Semaphore(0), 0

    async def __aiter__(self):
        for piece in self.pieces:
            self.asked += 1
            await self.given.acquire()
            yield piece


async def test_each_reader_gets_the_whole_text(nursery):
    script = Script(source := Source("a", "b", "c"))
    nursery.start_soon(script.run)
    for _ in range(3):
        source.given.release()
    for _ in range(2):
        assert [piece async for piece in script] == ["a", "b", "c"]


async def test_a_reader_who_is_cancelled_costs_the_source_nothing(nursery):
    script = Script(source := Source("a", "b", "c"))
    nursery.start_soon(script.run)
    heard = []

    async def read():
        async for piece in script:
            heard.append(piece)  # noqa: PERF401 - until it is cancelled

    async with trio.open_nursery() as first:
        first.start_soon(read)
        source.given.release()
        await wait_all_tasks_blocked()
        assert heard == ["a"]
        first.cancel_scope.cancel()
    source.given.release()
    source.given.release()
    await read()
    assert heard == ["a", "a", "b", "c"]


async def test_the_source_is_read_no_further_than_the_reader(nursery):
    script = Script(source := Source(*"abcdef"))
    for _ in range(6):
        source.given.release()
    nursery.start_soon(script.run)
    reader = aiter(script)
    assert await anext(reader) == "a"
    await wait_all_tasks_blocked()
    assert source.asked == 1
    assert await anext(reader) == "b"
    await wait_all_tasks_blocked()
    assert source.asked == 2
    nursery.cancel_scope.cancel()


async def test_an_empty_text(nursery):
    script = Script(Source())
    nursery.start_soon(script.run)
    assert [piece async for piece in script] == []


def test_the_listener_hears_of_one_handing_over():
    heard = []
    once = _Once(heard.append)
    for pcm in (b"", b""):
        once.hear(pcm)
        assert not once.heard
    once.hear(b"pcm")
    once.hear(b"")
    assert once.heard
    assert heard == [b"", b"pcm"]


ALTO = WorkerRecord("alto", "grpc://a:1", {"state": "ready"})
BASS = WorkerRecord("bass", "grpc://b:1", {"state": "draining"})


@pytest.mark.parametrize(
    ("wanted", "workers", "tried", "said"),
    [
        (Wanted(), (), {}, "no worker is registered"),
        (Wanted("m"), (ALTO, BASS), {}, "no worker that is ready has model 'm'; ready are: alto (ready)"),
        (Wanted(language="de"), (BASS,), {}, "no worker that is ready has 'de'; ready are: none"),
        (Wanted(), (BASS,), {}, "no worker that is ready has room; ready are: none"),
        (Wanted(), (ALTO,), {"grpc://a:1": "full"}, "no worker speaks: grpc://a:1: full"),
    ],
)
def test_why_nobody_speaks(wanted, workers, tried, said):
    assert said in str(_nobody(wanted, workers, tried))
