"""Measures a profile's claims again, in about a minute: loads each model once, and runs its published level once."""

from dataclasses import replace
from datetime import UTC, datetime

import trio

from ttsw.concurrency.unwrap import unwrapped
from ttsw.config import Config
from ttsw.device import find_devices
from ttsw.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError, TtswError
from ttsw.profiler.bench import OpenStage, Target, open_watch
from ttsw.profiler.device_facts import find_gpu, host_facts, refuse_whole_mig, software
from ttsw.profiler.disturbances import DisturbanceWatch
from ttsw.profiler.findings import Findings, ModelFindings
from ttsw.profiler.model_bench import ModelBench, Progress, Stage
from ttsw.profiler.plans import QUICK
from ttsw.profiler.profile_builder import headroom_mb
from ttsw.profiler.subject import ServerSnapshot
from ttsw.profiles.schema import DeviceFacts, Profile
from ttsw.profiles.selection import same_product

LOAD_S = 5.0
"""What starting a server and loading a model is thought to take, s."""
LEAST_S = 4.0
"""The shortest that a level is measured, s."""


async def verify(
    profile: Profile, *, config: Config, progress: Progress, seconds: float = 60.0, gpu: int | None = None
) -> Profile:
    """Measure a profile's models again, as far as they can be loaded.

    Args:
        profile: The profile.
        config: The configuration.
        progress: Told how it gets on.
        seconds: How long it may take, about, s.
        gpu: The GPU, by its number for CUDA; if None, the first of the profile's name, or else the first one.

    Returns:
        A profile of what was found. A model's `sessions` are those published, if they kept the SLOs, and absent if
        not; its `sweep` has the one level that was measured.

    Raises:
        TtswError: There is no such device, or not one model could be loaded.
    """
    target = await trio.to_thread.run_sync(find_target, profile, config, gpu)
    watch = await trio.to_thread.run_sync(open_watch, target)
    device = await trio.to_thread.run_sync(target.facts)
    return await verify_on(profile, device, target.open_stage, watch=watch, progress=progress, seconds=seconds)


def find_target(profile: Profile, config: Config, number: int | None) -> Target:
    """Find the device that a profile is to be held against.

    Args:
        profile: The profile.
        config: The configuration.
        number: The GPU, by its number for CUDA; if None, the first of the profile's name, or else the first one.

    Raises:
        InvalidArgumentError: A GPU is named for a CPU's profile.
        NotFoundError: There is no such GPU.
        UnavailableError: There is no driver, or it doesn't answer.
    """
    if profile.device.kind == "cpu":
        if number is not None:
            raise InvalidArgumentError(f"{profile.name} is a CPU's profile: --gpu is of no use")
        return Target(config)
    if number is None:
        gpus = [device for device in find_devices() if device.id != "cpu"]
        alike = (place for place, gpu in enumerate(gpus) if same_product(gpu.name, profile.device.name))
        number = next(alike, 0)
    gpu = find_gpu(number)
    refuse_whole_mig(gpu)
    return Target(config, gpu)


async def verify_on(
    profile: Profile,
    device: DeviceFacts,
    open_stage: OpenStage,
    *,
    watch: DisturbanceWatch,
    progress: Progress,
    seconds: float = 60.0,
) -> Profile:
    """Measure a profile's models again on stages that are opened for them; see `verify`.

    Args:
        profile: The profile.
        device: What there is now.
        open_stage: Opens a stage.
        watch: Notices what disturbs.
        progress: Told how it gets on.
        seconds: How long it may take, about, s.
    """
    findings = Findings()
    level_s = max(LEAST_S, seconds / max(1, len(profile.models)) - LOAD_S - QUICK.settle_s - QUICK.drain_s)
    for number, (model_id, facts) in enumerate(profile.models.items()):
        sessions = profile.derived.sessions.get(model_id, facts.sessions or 1)
        left_s = (LOAD_S + QUICK.level_s(level_s)) * (len(profile.models) - number)
        progress.stage(f"{model_id}: loading it, then {sessions} at once", left_s)
        try:
            with unwrapped():
                async with open_stage([model_id]) as stage:
                    draft = findings.models[model_id] = ModelFindings(await _find(stage, model_id))
                    bench = ModelBench(
                        stage,
                        model_id,
                        draft,
                        replace(QUICK, cycles=1),  # the first load brings more into memory than the model
                        profile.slo,
                        headroom_mb=headroom_mb(device.memory_mb),
                        watch=watch,
                        progress=progress,
                    )
                    await bench.measure_loads()
                    verdict = await bench.measure_level(sessions, "confirm", seconds=level_s)
                    draft.sessions, draft.bound = (sessions, None) if verdict.level.passed else (None, verdict.bound)
        except TtswError as error:
            findings.notes.append(f"{model_id}: {error}")
    return _built(profile, device, findings, watch)


async def _find(stage: Stage, model_id: str) -> ServerSnapshot:
    known = await stage.subject.models()
    if model_id not in known:
        raise NotFoundError("it isn't there any more")
    return known[model_id]


def _built(profile: Profile, device: DeviceFacts, findings: Findings, watch: DisturbanceWatch) -> Profile:
    models = findings.facts()
    if not models:
        raise FailedPreconditionError(f"not one model of {profile.name} could be measured: {'; '.join(findings.notes)}")
    derived = profile.derived.model_copy(
        update={
            "sessions": {each: count for each, count in profile.derived.sessions.items() if each in models},
            "resident": tuple(each for each in profile.derived.resident if each in models),
        }
    )
    return Profile(
        name=profile.name,
        provenance="measured",
        date=datetime.now(UTC),
        device=device,
        host=host_facts(),
        software=software(facts.family for facts in models.values()),
        slo=profile.slo,
        disturbances=(*watch.told(), *findings.notes),
        models=models,
        derived=derived,
        notes=f"A check of {profile.name}: each model loaded once, its published level run once.",
    )
