"""Puts a whole measurement together: which models, a server for each, the pairs, and the profile that comes of it.

A server that dies costs its model the rest of its figures, and nothing else; so does an interruption. What was found
until then is in the findings.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from ttsw.concurrency.unwrap import unwrapped
from ttsw.config import Config
from ttsw.errors import NotFoundError, TtswError
from ttsw.profiler.device_facts import Gpu, cpu_facts, gpu_facts
from ttsw.profiler.disturbances import DisturbanceWatch, GpuWatch, others_mb
from ttsw.profiler.findings import Findings, ModelFindings
from ttsw.profiler.interference import PairBench, pairs
from ttsw.profiler.load_messages import SessionGroup
from ttsw.profiler.load_process import open_load_generator
from ttsw.profiler.memory import FiguresMeter, meter_of_cpu, meter_of_gpu
from ttsw.profiler.model_bench import ModelBench, Progress, Stage
from ttsw.profiler.plans import BenchPlan
from ttsw.profiler.server import open_server, settle
from ttsw.profiler.server_config import IDLE_MODEL
from ttsw.profiles.schema import DeviceFacts, Profile, Slo

if TYPE_CHECKING:
    from ttsw.profiler.subject import Meter

MB = 1e6

OpenStage = Callable[[Sequence[str]], AbstractAsyncContextManager[Stage]]
"""Opens a server for these models with nothing in memory, a crowd for it and a view of its memory."""


@dataclass(frozen=True)
class Target:
    """What is measured.

    Args:
        config: The configuration.
        gpu: The GPU; None for the CPU.
        simulate: The profile's file whose device is simulated.
        simulated: What that says.
    """

    config: Config
    gpu: Gpu | None = None
    simulate: Path | None = None
    simulated: Profile | None = None

    @property
    def device_id(self) -> str:
        """The device as the server calls it."""
        return "cpu" if self.gpu is None else self.gpu.device.id

    def facts(self) -> DeviceFacts:
        """Describe the device.

        Raises:
            UnavailableError: It doesn't answer.
        """
        if self.simulated is not None:
            return self.simulated.device
        return cpu_facts() if self.gpu is None else gpu_facts(self.gpu)

    @asynccontextmanager
    async def open_stage(self, model_ids: Sequence[str]) -> AsyncGenerator[Stage, None]:
        """Open a stage for these models; see `OpenStage`."""
        before_mb = 0.0 if self.gpu is None else self.gpu.device.snapshot().used / MB
        default = IDLE_MODEL if self.simulated is None else next(iter(self.simulated.models))
        gpus = () if self.gpu is None else (self.gpu.number,)
        async with open_server(
            self.config, gpus=gpus, model_ids=model_ids, simulate=self.simulate, default=default
        ) as server:
            await settle(server, model_ids)
            meter: Meter
            if self.simulate is not None:
                meter = FiguresMeter(server)
            elif self.gpu is not None:
                meter = meter_of_gpu(self.gpu.device, server.pid, before_mb)
            else:
                meter = meter_of_cpu(server.pid)
            async with open_load_generator(server.host, server.port) as crowd:
                yield Stage(server, crowd, meter)


def open_watch(target: Target) -> DisturbanceWatch:
    """Begin to notice what disturbs the measurement of a target."""
    return DisturbanceWatch(monotonic, None if target.gpu is None else GpuWatch(target.gpu, others_mb(target.gpu)))


class Bench:
    """Measures models, one after the other, then pairs of them.

    Args:
        open_stage: Opens a stage for models.
        device: The device that models are to be on; one that goes elsewhere is left out. None for any.
        plan: How much is measured.
        slo: What is kept to.
        headroom_mb: Memory that is left to others.
        watch: Notices what disturbs.
        progress: Told how it gets on.
    """

    def __init__(
        self,
        open_stage: OpenStage,
        plan: BenchPlan,
        slo: Slo,
        *,
        device: str | None,
        headroom_mb: float,
        watch: DisturbanceWatch,
        progress: Progress,
    ) -> None:
        self._open_stage, self._plan, self._slo, self._device = open_stage, plan, slo, device
        self._headroom_mb, self._watch, self._progress = headroom_mb, watch, progress
        self.findings = Findings()

    async def run(self, model_ids: Sequence[str]) -> None:
        """Measure them. What goes wrong with one is noted, and the next one's turn comes.

        Raises:
            NotFoundError: The server doesn't know one of them.
            TtswError: Not one could be measured.
        """
        first_fault: TtswError | None = None
        for number, model_id in enumerate(model_ids):
            later_s = self._plan.model_s() * (len(model_ids) - number - 1) + self._plan.pairs_s(len(model_ids))
            try:
                with unwrapped():
                    await self._measure(model_id, later_s)
            except NotFoundError:
                raise
            except TtswError as error:
                first_fault = first_fault or error
                self._note(f"{model_id}: {error}")
        if not self.findings.facts():
            raise first_fault or NotFoundError("there is no model to measure")
        await self._measure_pairs()

    async def _measure(self, model_id: str, later_s: float) -> None:
        self._progress.stage(f"{model_id}: starting a server", self._plan.model_s() + later_s)
        async with self._open_stage([model_id]) as stage:
            known = await stage.subject.models()
            if model_id not in known:
                raise NotFoundError(f"no model {model_id!r}; there are: {', '.join(sorted(known)) or 'none'}")
            draft = self.findings.models[model_id] = ModelFindings(known[model_id])
            bench = ModelBench(
                stage,
                model_id,
                draft,
                self._plan,
                self._slo,
                headroom_mb=self._headroom_mb,
                watch=self._watch,
                progress=self._progress,
                later_s=later_s,
            )
            try:
                await bench.run()
            finally:
                if self._device is not None and draft.seen.device not in {"", self._device}:
                    del self.findings.models[model_id]
                    self._note(f"{model_id} goes to {draft.seen.device}, and {self._device} is measured")

    async def _measure_pairs(self) -> None:
        sessions = {model_id: facts.sessions or 0 for model_id, facts in self.findings.facts().items()}
        chosen = pairs(sessions, self._plan.pairs)
        each_s = self._plan.pairs_s(2)
        for number, pair in enumerate(chosen):
            left_s = each_s * (len(chosen) - number - 1)
            self._progress.stage(f"{pair[0]} and {pair[1]}: starting a server", left_s + each_s)
            groups = [SessionGroup(model_id, sessions[model_id]) for model_id in pair]
            try:
                with unwrapped():
                    async with self._open_stage(pair) as stage:
                        bench = PairBench(stage, self._plan, self._slo, self._progress)
                        await bench.run(groups, self.findings.interference, left_s)
            except TtswError as error:
                self._note(f"{pair[0]} and {pair[1]}: {error}")

    def _note(self, text: str) -> None:
        self.findings.notes.append(text)
        self._progress.stage(text, 0.0)
