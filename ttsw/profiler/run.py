"""Runs a measurement until it is done or interrupted, and gives the profile of whatever was found until then."""

import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import trio

from ttsw.concurrency.unwrap import unwrapped
from ttsw.errors import TtswError
from ttsw.profiler.bench import Bench, Target, open_watch
from ttsw.profiler.device_facts import host_facts, software
from ttsw.profiler.model_bench import Progress
from ttsw.profiler.plans import BenchPlan
from ttsw.profiler.profile_builder import build, headroom_mb, name_of
from ttsw.profiles.schema import Profile, Slo

INTERRUPTED = "it was interrupted: what was measured until then is all there is"


@dataclass(frozen=True, slots=True)
class Measurement:
    """What came of a measurement.

    Args:
        profile: The profile; None where it was interrupted before anything was known.
        interrupted: Whether it was.
    """

    profile: Profile | None
    interrupted: bool


async def measure(
    target: Target,
    model_ids: Sequence[str],
    *,
    plan: BenchPlan,
    slo: Slo,
    progress: Progress,
    name: str | None = None,
    stop: trio.Event | None = None,
) -> Measurement:
    """Measure models, until SIGINT or SIGTERM if those come first.

    Args:
        target: The device.
        model_ids: The models.
        plan: How much is measured.
        slo: What is kept to.
        progress: Told how it gets on.
        name: The profile's name; one by the device's if None.
        stop: Ends it too.

    Raises:
        TtswError: Nothing could be measured.
    """
    device = await trio.to_thread.run_sync(target.facts)
    watch = await trio.to_thread.run_sync(open_watch, target)
    bench = Bench(
        target.open_stage,
        plan,
        slo,
        device=None if target.simulate else target.device_id,
        headroom_mb=headroom_mb(device.memory_mb),
        watch=watch,
        progress=progress,
    )
    interrupted = await _run_until(trio.Event() if stop is None else stop, partial(bench.run, model_ids))
    facts = bench.findings.facts()
    if not facts:
        return Measurement(None, interrupted)
    profile = build(
        bench.findings,
        name=name or name_of(device),
        date=datetime.now(UTC),
        device=device,
        host=await trio.to_thread.run_sync(host_facts),
        software=await trio.to_thread.run_sync(software, [each.family for each in facts.values()]),
        slo=slo,
        disturbances=(*watch.told(), *([INTERRUPTED] if interrupted else [])),
        notes="" if target.simulated is None else f"Measured on a simulation of {target.simulated.name}, on no device.",
        whole=not interrupted,
    )
    return Measurement(profile, interrupted)


async def _run_until(stop: trio.Event, run: Callable[[], Awaitable[None]]) -> bool:
    """Run something until it is done, or interrupted by a signal or `stop`; say whether it was interrupted."""
    fault = None
    async with trio.open_nursery() as nursery:
        await nursery.start(_watch_signals, stop)
        nursery.start_soon(_cancel_on, stop, nursery.cancel_scope)
        try:
            with unwrapped():
                await run()
        except TtswError as error:  # raised below, so that no exception group is made of it
            fault = error
        nursery.cancel_scope.cancel(reason="it has ended")
    if fault is not None and not stop.is_set():
        raise fault
    return stop.is_set()


async def _watch_signals(stop: trio.Event, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    heeded = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) != signal.SIG_IGN]  # nohup
    with trio.open_signal_receiver(signal.SIGINT, *heeded) as signals:
        task_status.started()
        async for _ in signals:
            stop.set()


async def _cancel_on(stop: trio.Event, scope: trio.CancelScope) -> None:
    await stop.wait()
    scope.cancel(reason="interrupted")
