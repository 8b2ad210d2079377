"""Measures one model on one server: what it takes, how it behaves under load, how many sessions it can speak at once.

What is measured goes into a draft at once. Decides nothing about levels: `search` does, and `judging` what passed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Protocol

import trio

from ttsw.profiler.disturbances import LAG_MS, DisturbanceWatch
from ttsw.profiler.findings import Cycle, ModelFindings
from ttsw.profiler.load_messages import Arrivals, LoadOrder, LoadResult, SessionGroup, Texts
from ttsw.profiler.memory import open_peak, session_mb
from ttsw.profiler.plans import BenchPlan
from ttsw.profiler.search import Kind, Outcome, SearchDone, SearchLimits, fits, next_step
from ttsw.profiler.subject import LoadListeners, Meter, Subject
from ttsw.profiler.verdict import Verdict, judge, oddities
from ttsw.profiles.schema import SessionLevel, Slo

LOOK_S = 0.05
"""How often memory is looked at while a model is loaded, s,"""
LEVEL_LOOK_S = 0.5
"""and while it speaks, s."""
ENOUGH: Mapping[Kind, int] = {"probe": 4, "confirm": 12}
"""Utterances that a level should have,"""
LONGER = 2.0
"""and how much longer it may take for that than it is meant to;"""
LEAST = 1.5
"""but in any case it lasts for so many of the longest utterances, by all sessions, so that one begins meanwhile."""
ALONE_S = 60.0
"""How long a few utterances may take, s."""


def counted(sessions: int) -> str:
    """Say how many sessions.

    >>> counted(1), counted(2)
    ('1 session', '2 sessions')
    """
    return f"{sessions} session" + ("s" if sessions > 1 else "")


class Progress(Protocol):
    """Told how a measurement gets on."""

    def stage(self, text: str, left_s: float) -> None:
        """Something else is measured now; all of it will take so much longer."""
        ...

    def level(self, model_id: str, level: SessionLevel, kind: str) -> None:
        """A level was measured."""
        ...


@dataclass(frozen=True, slots=True)
class Stage:
    """A server, a crowd to load it and a view of its memory."""

    subject: Subject
    listeners: LoadListeners
    meter: Meter


class ModelBench:
    """Measures a model.

    Args:
        stage: Where.
        model_id: The model.
        draft: Where what is found goes.
        plan: How much is measured.
        slo: What a level must keep to.
        headroom_mb: Memory that is left to others.
        watch: Notices what disturbs.
        progress: Told how it gets on.
        later_s: How long what comes after this model will take, s.
    """

    def __init__(
        self,
        stage: Stage,
        model_id: str,
        draft: ModelFindings,
        plan: BenchPlan,
        slo: Slo,
        *,
        headroom_mb: float,
        watch: DisturbanceWatch,
        progress: Progress,
        later_s: float = 0.0,
    ) -> None:
        self._stage, self._model_id, self._draft, self._plan, self._slo = stage, model_id, draft, plan, slo
        self._headroom_mb, self._watch, self._progress, self._later_s = headroom_mb, watch, progress, later_s
        self._seeds = count(1)
        self._mean_s = self._longest_s = 3.0

    async def run(self) -> None:
        """Measure all of it.

        Raises:
            TtswError: The model can't be loaded, or the server has ended.
        """
        plan, model = self._plan, self._model_id
        self._say(f"{model}: loads", plan.model_s() - 3)
        await self.measure_loads()
        self._say(f"{model}: alone", plan.memory_sum_s() + plan.search_s() + plan.poisson_s)
        await self.measure_first()
        self._say(f"{model}: memory of a session", plan.memory_sum_s() + plan.search_s() + plan.poisson_s)
        await self.measure_memory()
        await self.search()
        if plan.poisson_s and self._draft.sessions:
            self._say(f"{model}: arrivals by chance", plan.level_s(plan.poisson_s))
            await self.measure_poisson(self._draft.sessions)

    async def measure_loads(self) -> None:
        """Load and unload it, again and again; in the end it stays loaded."""
        for _ in range(self._plan.cycles):
            await self._load_and_unload()
        await self.load_once()

    async def _load_and_unload(self) -> None:
        cycle = await self.load_once()
        cycle.unload_s = await self._stage.subject.unload(self._model_id)
        cycle.after_mb = (await self._stage.meter.look()).ours_mb

    async def load_once(self) -> Cycle:
        """Load it, and see what that takes."""
        stage = self._stage
        before_mb = (await stage.meter.look()).ours_mb
        async with open_peak(stage.meter, LOOK_S) as peak:
            load_s = await stage.subject.load(self._model_id)
        settled_mb = (await stage.meter.look()).ours_mb
        cycle = Cycle(load_s, before_mb, peak.most_mb, settled_mb)
        self._draft.seen = (await stage.subject.models())[self._model_id]
        self._draft.cycles.append(cycle)
        return cycle

    async def measure_first(self) -> None:
        """Hear the first and the second utterance, then some as fast as they come: do their figures agree?"""
        heard = await self._listen(1, ALONE_S, most=2)
        self._learn_length(heard)
        first_ms = [1000 * each.first_s for each in heard.utterances if each.first_s is not None]
        if len(first_ms) > 1:
            self._draft.first_ms, self._draft.second_ms = (round(each, 1) for each in first_ms[:2])
        heard = await self._listen(1, ALONE_S, most=3, pacing="fast")
        self._watch.say(oddities(heard, self._model_id))

    async def measure_memory(self) -> None:
        """See how memory grows with sessions that speak long texts."""
        meter, limits = self._stage.meter, await self._limits()
        seen: list[Outcome] = []
        for sessions in self._plan.memory_levels:
            if sessions > limits.most or not fits(sessions, seen, limits):
                break
            async with open_peak(meter, LEVEL_LOOK_S / 2) as peak:
                await self._listen(sessions, self._plan.memory_s, texts="long", drain_s=0.0)
            seen.append(Outcome(sessions, "probe", passed=True, memory_mb=peak.most_mb))
        self._draft.session_mb = session_mb(
            limits.base_mb or 0.0, {each.sessions: each.memory_mb or 0.0 for each in seen}
        )

    async def search(self) -> None:
        """Search how many sessions it can speak at once."""
        limits = await self._limits()
        outcomes: list[Outcome] = []
        while not isinstance(step := next_step(outcomes, limits), SearchDone):
            doing = "confirming" if step.kind == "confirm" else "trying"
            self._say(f"{self._model_id}: {doing} {step.sessions}", self._plan.search_s(len(outcomes)))
            verdict = await self.measure_level(step.sessions, step.kind)
            level = verdict.level
            outcomes.append(Outcome(step.sessions, step.kind, level.passed, verdict.bound, level.memory_mb))
        self._draft.sessions, self._draft.bound = step.sessions, step.bound

    async def _limits(self) -> SearchLimits:
        memory, slope_mb = await self._stage.meter.look(), self._draft.session_mb
        plan = self._plan
        return SearchLimits(
            plan.most,
            ceiling_mb=memory.total_mb - memory.others_mb - self._headroom_mb,
            base_mb=memory.ours_mb,
            session_mb=slope_mb[len(slope_mb) // 2] if slope_mb else None,
            confirmations=plan.confirmations,
            factor=plan.factor,
            coarse=plan.coarse,
            second_chance=plan.second_chance,
        )

    async def measure_level(
        self, sessions: int, kind: Kind, *, seconds: float | None = None, arrivals: Arrivals = "closed"
    ) -> Verdict:
        """Measure a level; a confirmation that failed while something disturbed it, a second time.

        Of what fails on the way to the limit, the search itself has some measured again.
        """
        verdict, disturbed = await self._measure_level(sessions, kind, seconds, arrivals)
        if disturbed and not verdict.level.passed and kind == "confirm" and arrivals == "closed":
            self._keep(verdict.level, f"{kind}, disturbed")
            verdict, disturbed = await self._measure_level(sessions, kind, seconds, arrivals)
        if disturbed and not verdict.level.passed:
            self._watch.say([f"{self._model_id} failed with {counted(sessions)} while disturbed: {disturbed[0]}"])
        self._keep(verdict.level, kind)
        return verdict

    async def _measure_level(
        self, sessions: int, kind: Kind, seconds: float | None, arrivals: Arrivals
    ) -> tuple[Verdict, list[str]]:
        subject, plan = self._stage.subject, self._plan
        length_s = seconds or self._length_s(sessions, kind)
        await trio.to_thread.run_sync(self._watch.look)
        async with open_peak(self._stage.meter, LEVEL_LOOK_S) as peak:
            hear = partial(self._listen, sessions, arrivals=arrivals, stop_every=plan.stop_every)
            heard = await hear(length_s)
            if not heard.utterances and not heard.refused:  # what was spoken had begun before, and lasted
                heard = await hear(LONGER * length_s)
        disturbed = await self._disturbed(heard)
        if any(each.error for each in heard.utterances) or heard.refused:
            await subject.models()  # raises where the server has ended
        self._learn_length(heard)
        self._watch.say(oddities(heard, self._model_id) if sessions == 1 else [])
        verdict = judge(
            heard,
            sessions,
            self._slo,
            model=self._model_id,
            arrivals=arrivals,
            memory_mb=peak.most_mb,
            drift=kind == "confirm",
        )
        return verdict, disturbed

    def _length_s(self, sessions: int, kind: Kind) -> float:
        """How long a level is measured: longer where few sessions say little, within reason."""
        meant_s = self._plan.probe_s if kind == "probe" else self._plan.confirm_s
        enough_s = ENOUGH[kind] * self._mean_s / sessions
        return max(meant_s, min(enough_s, LONGER * meant_s), LEAST * self._longest_s / sessions)

    async def _disturbed(self, heard: LoadResult) -> list[str]:
        words = await trio.to_thread.run_sync(self._watch.look)
        self._watch.lags_ms.append(heard.lag_ms)
        if heard.lag_ms > LAG_MS:
            words = [f"the load generator itself was {heard.lag_ms:.0f} ms late", *words]
        return words

    def _keep(self, level: SessionLevel, kind: str) -> None:
        self._draft.sweep.append(level)
        self._progress.level(self._model_id, level, kind)

    def _learn_length(self, heard: LoadResult) -> None:
        """How long utterances take, for those that will come by chance."""
        took_s = [each.took_s for each in heard.utterances if each.finished and each.stop_s is None]
        if took_s:
            self._mean_s = sum(took_s) / len(took_s)
            self._longest_s = max(self._longest_s, *took_s)

    async def measure_poisson(self, sessions: int) -> SessionLevel:
        """Have as many utterances come by chance as so many sessions would say."""
        verdict = await self.measure_level(sessions, "confirm", seconds=self._plan.poisson_s, arrivals="poisson")
        return verdict.level

    async def _listen(
        self,
        sessions: int,
        seconds: float,
        *,
        most: int | None = None,
        pacing: str = "realtime",
        texts: Texts = "mixed",
        arrivals: Arrivals = "closed",
        stop_every: int = 0,
        drain_s: float | None = None,
    ) -> LoadResult:
        order = LoadOrder(
            groups=(SessionGroup(self._model_id, sessions),),
            seconds=seconds,
            settle_s=self._plan.settle_s * (1 + math.log2(sessions) / 4),
            drain_s=self._plan.drain_s if drain_s is None else drain_s,
            arrivals=arrivals,
            mean_s=self._mean_s,
            texts=texts,
            most=most,
            stop_every=stop_every,
            pacing="fast" if pacing == "fast" else "realtime",
            seed=next(self._seeds),
        )
        return await self._stage.listeners.listen(order)

    def _say(self, text: str, left_s: float) -> None:
        self._progress.stage(text, left_s + self._later_s)
