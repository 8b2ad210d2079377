"""The whole search on a simulated GPU, in virtual time: it finds the limits that the simulation was built with.

Sessions are the worker's own: its segments, its pacing, its buffers. Only the engine and the device are made up.
"""

from contextlib import asynccontextmanager

import pytest
import trio

from tests.unit.profiler.test_model_bench import Log
from tests.unit.simulation.profiles import facts, make
from ttsw.errors import TtswError
from ttsw.models.measurements import ModelRecord
from ttsw.profiler.bench import Bench
from ttsw.profiler.disturbances import DisturbanceWatch
from ttsw.profiler.load_messages import LoadResult, UtteranceTimes
from ttsw.profiler.model_bench import Stage
from ttsw.profiler.plans import BenchPlan
from ttsw.profiler.subject import MemoryReading, ServerSnapshot
from ttsw.profiler.texts import texts
from ttsw.profiles.schema import Slo
from ttsw.sessions.synthesizer import run_synthesizer
from ttsw.simulation.source import SimulatedSource
from ttsw.units import FRAME_S

pytestmark = pytest.mark.slow

PLAN = BenchPlan(
    cycles=2, probe_s=25.0, confirm_s=40.0, memory_levels=(1, 2), memory_s=10.0, poisson_s=0.0, pairs=0, most=64
)
HEADROOM_MB = 1_000.0
MODEL = "f-a"


class SimulatedWorld:
    """Server, listeners and meter of a simulation, in one process."""

    def __init__(self, profile, noise, seed):
        self.simulation = SimulatedSource(profile, noise, seed)
        self.voice = None

    @asynccontextmanager
    async def open_stage(self, _model_ids):
        yield Stage(self, self, self)

    # the server

    async def models(self):
        await trio.lowlevel.checkpoint()
        size = None if self.voice is None else self.voice.host.facts.size_mb
        return {MODEL: ServerSnapshot("f", "1.0", device="" if self.voice is None else "cuda:0", size_mb=size)}

    async def load(self, model_id):
        began = trio.current_time()
        self.voice = await self.simulation.load(
            self.simulation.catalogue[model_id], ModelRecord(), "cuda:0", lambda: None
        )
        return trio.current_time() - began

    async def unload(self, _model_id):
        await self.voice.close()
        self.voice = None
        return 0.0

    # its device

    async def look(self):
        await trio.lowlevel.checkpoint()
        seen = self.simulation.device.snapshot()
        return MemoryReading(seen.total / 1e6, seen.ours / 1e6)

    # those who listen

    async def listen(self, order):
        begins = trio.current_time() + order.settle_s
        found: list[UtteranceTimes] = []
        with trio.move_on_after(order.settle_s + order.seconds + order.drain_s):
            async with trio.open_nursery() as nursery:
                for group in order.groups:
                    for number in range(group.sessions):
                        wait_s = order.settle_s * number / group.sessions
                        nursery.start_soon(self._session, order, wait_s, number, begins, found)
        return LoadResult(seconds=order.seconds, utterances=found)

    async def _session(self, order, wait_s, number, begins, found):
        await trio.sleep(wait_s)
        said = 0
        async with run_synthesizer(self.voice) as synthesizer:
            for text in texts(order.texts, 1_000 * order.seed + number):
                now = trio.current_time()
                if said == order.most or (order.most is None and now >= begins + order.seconds):
                    return
                said += 1
                utterance = UtteranceTimes(model=MODEL, began_s=now - begins, characters=len(text))
                if utterance.began_s >= 0 or order.most is not None:
                    found.append(utterance)
                await self._hear(synthesizer, text, utterance, order.pacing)

    async def _hear(self, synthesizer, text, utterance, pacing):
        began, plays_until = trio.current_time(), None
        try:
            async for _ in synthesizer.synthesize_streaming(text, options={"pacing": pacing}):
                now = trio.current_time()
                if plays_until is None:
                    utterance.first_s, plays_until = now - began, now
                utterance.gap_s = max(utterance.gap_s, now - plays_until)
                plays_until = max(now, plays_until) + FRAME_S
                utterance.audio_s += FRAME_S
                utterance.took_s = now - began
        except TtswError as error:
            utterance.error = str(error)
            await trio.sleep(1)
        else:
            utterance.finished = True
            utterance.rtf = synthesizer.report.rtf


@pytest.fixture
def limit():
    async def limit(model, noise=0.0, seed=1, memory_mb=24_000.0):
        world = SimulatedWorld(make(memory_mb, a=model), noise, seed)
        watch = DisturbanceWatch(lambda: 0.0, loads=lambda: 0.0)
        bench = Bench(
            world.open_stage, PLAN, Slo(), device="cuda:0", headroom_mb=HEADROOM_MB, watch=watch, progress=Log()
        )
        await bench.run([MODEL])
        found = bench.findings.facts()[MODEL]
        assert world.simulation.device.ours == (0 if world.voice is None else model.size_mb * 1e6)
        return found.sessions, found.bound

    return limit


@pytest.mark.slow
@pytest.mark.parametrize(("sessions", "noise"), [(3, 0.0), (6, 0.1)])
async def test_a_limit_of_first_audio_is_found(autojump_clock, limit, sessions, noise):
    found, bound = await limit(facts(sessions, "ttfa"), noise)
    assert abs(found - sessions) <= 1
    assert bound == "ttfa"


@pytest.mark.slow
@pytest.mark.parametrize(("sessions", "noise"), [(3, 0.0), (6, 0.1)])
async def test_a_limit_of_continuity_is_found(autojump_clock, limit, sessions, noise):
    found, bound = await limit(facts(sessions, "continuity"), noise)
    assert abs(found - sessions) <= 1
    assert bound in {"continuity", "ttfa"}


@pytest.mark.slow
async def test_a_limit_of_memory_is_found(autojump_clock, limit):
    found, bound = await limit(facts(40, "memory", session_mb=3_000.0, size_mb=6_000.0))
    assert abs(found - 5) <= 1, "23 GB hold the model and 5 sessions"
    assert bound == "memory"
