"""Measures what two models do to each other: both speak, or one is loaded again and again while the other speaks."""

from collections.abc import Sequence
from contextlib import suppress
from itertools import combinations

import trio

from ttsw.errors import ResourceExhaustedError
from ttsw.profiler.load_messages import LoadOrder, SessionGroup
from ttsw.profiler.memory import open_peak
from ttsw.profiler.model_bench import LEVEL_LOOK_S, Progress, Stage
from ttsw.profiler.plans import BenchPlan
from ttsw.profiler.verdict import judge
from ttsw.profiles.schema import Interference, SessionLevel, Slo

SHARES = (1 / 2, 3 / 8, 1 / 4)
"""Of what each can speak alone, so much is tried while both speak, until one is kept."""
REST_S = 0.2
"""Between an unload and the next load, s."""


def pairs(sessions: dict[str, int], most: int) -> list[tuple[str, str]]:
    """Choose pairs of models that can speak at all, in the order in which they were measured.

    >>> pairs({"a": 4, "b": 0, "c": 2, "d": 1}, 2)
    [('a', 'c'), ('a', 'd')]
    """
    return list(combinations([model_id for model_id, count in sessions.items() if count], 2))[:most]


class PairBench:
    """Measures a pair of models on one server.

    Args:
        stage: Where.
        plan: How long.
        slo: What is kept to.
        progress: Told how it gets on.
    """

    def __init__(self, stage: Stage, plan: BenchPlan, slo: Slo, progress: Progress) -> None:
        self._stage, self._plan, self._slo, self._progress = stage, plan, slo, progress

    async def run(self, groups: Sequence[SessionGroup], found: list[Interference], left_s: float) -> None:
        """Measure a pair, each with half of the sessions that it can speak alone; with less, if that is too much.

        Args:
            groups: The two, with the sessions that each can speak alone.
            found: Where what is found goes.
            left_s: How long what comes after will take, s.

        Raises:
            TtswError: One can't be loaded, or the server has ended.
        """
        one, other = _part(groups, SHARES[0])
        for group in groups:
            await self._stage.subject.load(group.model)
        length_s = self._plan.level_s(self._plan.pair_s)
        self._progress.stage(f"{one.model} and {other.model}: both speak", left_s + 3 * length_s)
        await self._both(groups, found)
        for speaking, loaded, after_s in ((one, other, length_s), (other, one, 0.0)):
            self._progress.stage(f"{speaking.model} speaks, {loaded.model} is loaded", left_s + length_s + after_s)
            await self._stage.subject.load(speaking.model)
            await self._stage.subject.unload(loaded.model)
            found.append(await self._beside_loads(speaking, loaded.model))

    async def _both(self, groups: Sequence[SessionGroup], found: list[Interference]) -> None:
        for one, other in dict.fromkeys(_part(groups, share) for share in SHARES):
            levels = await self._listen((one, other))
            found += [
                Interference(speaking=group.model, beside=beside.model, doing="speaks", level=level)
                for group, beside, level in zip((one, other), (other, one), levels, strict=True)
            ]
            if all(level.passed for level in levels):
                return

    async def _beside_loads(self, one: SessionGroup, other: str) -> Interference:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._load_again_and_again, other)
            (level,) = await self._listen((one,), beside=other)
            nursery.cancel_scope.cancel(reason="it is heard")
        return Interference(speaking=one.model, beside=other, doing="loads", level=level)

    async def _load_again_and_again(self, model_id: str) -> None:
        while True:
            with suppress(ResourceExhaustedError):  # it may not fit beside the other, which is an answer too
                await self._stage.subject.load(model_id)
                await self._stage.subject.unload(model_id)
            await trio.sleep(REST_S)

    async def _listen(self, groups: tuple[SessionGroup, ...], beside: str = "") -> list[SessionLevel]:
        stage, plan = self._stage, self._plan
        order = LoadOrder(groups=groups, seconds=plan.pair_s, settle_s=plan.settle_s, drain_s=plan.drain_s)
        async with open_peak(stage.meter, LEVEL_LOOK_S) as peak:
            heard = await stage.listeners.listen(order)
        levels = []
        together = sum(group.sessions for group in groups)
        for group in groups:
            verdict = judge(heard, together, self._slo, model=group.model, memory_mb=peak.most_mb)
            levels.append(verdict.level)
            others = ", ".join(each.model for each in groups if each is not group)
            told = f"together with {others}" if others else f"beside loads of {beside}"
            self._progress.level(group.model, verdict.level, told)
        await stage.subject.models()  # raises where the server has ended
        return levels


def _part(groups: Sequence[SessionGroup], share: float) -> tuple[SessionGroup, ...]:
    return tuple(SessionGroup(group.model, max(1, int(group.sessions * share))) for group in groups)
