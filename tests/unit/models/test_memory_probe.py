import trio

from ttsw.models.memory_probe import LoadOverlap, MemoryProbe, MemoryUse
from ttsw.types import MemorySnapshot


class Memory:
    def __init__(self, *ours):
        self.ours = list(ours)

    async def look(self):
        await trio.lowlevel.checkpoint()
        ours = self.ours.pop(0) if len(self.ours) > 1 else self.ours[0]
        return [] if ours is None else [MemorySnapshot("cpu", 1_000, ours, ours)]


async def test_it_measures_the_end_and_the_peak(autojump_clock, nursery):
    gauge = MemoryProbe(Memory(100, 150, 400, 300, 250).look, "cpu")
    await gauge.start()
    nursery.start_soon(gauge.watch)
    await trio.sleep(0.16)
    gauge.stop()
    assert await gauge.taken() == MemoryUse(size=150, peak=300)


async def test_what_nothing_was_taken_for_is_not_measured():
    gauge = MemoryProbe(Memory(100, 100).look, "cpu")
    await gauge.start()
    assert await gauge.taken() is None


async def test_a_device_that_does_not_answer_measures_nothing(autojump_clock):
    gauge = MemoryProbe(Memory(None, 100).look, "cpu")
    await gauge.start()
    assert await gauge.taken() is None
    assert await gauge.await_return(10) is None


async def test_it_waits_until_enough_is_back(autojump_clock):
    gauge = MemoryProbe(Memory(500, 490, 450, 300, 200).look, "cpu")
    await gauge.start()
    started = trio.current_time()
    assert await gauge.await_return(150) == 200
    assert trio.current_time() - started == 0.1


def test_what_was_alone_is_told_apart():
    traffic = LoadOverlap()
    first = traffic.begin("cpu")
    assert traffic.end("cpu", first)
    first, other = traffic.begin("cpu"), traffic.begin("cuda:0")
    second = traffic.begin("cpu")
    assert not traffic.end("cpu", first)
    assert not traffic.end("cpu", second), "the first was there when it began"
    assert traffic.end("cuda:0", other), "on another device"
