"""`ttsw bench`: measures what this machine's CPU or a GPU can do, and writes a profile of it."""

import json
import math
import os
from functools import partial
from pathlib import Path
from typing import Annotated, Self

import trio
import typer
from rich.markup import escape
from rich.progress import Progress as Bars
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from ttsw.cli.bench.files import check_target, keep, profile_name
from ttsw.cli.ui.console import err, out, write_json
from ttsw.config import load_config
from ttsw.device import find_devices
from ttsw.errors import InvalidArgumentError
from ttsw.packs.catalogue import find_packs
from ttsw.profiler.bench import Target
from ttsw.profiler.candidates import choose_models, simulated_models
from ttsw.profiler.device_facts import find_gpu, refuse_whole_mig
from ttsw.profiler.plans import FULL, NORMAL, QUICK, BenchPlan
from ttsw.profiler.profile_builder import name_of
from ttsw.profiler.run import measure
from ttsw.profiles.files import PARTIAL, find_profile, own_folder, read_profile
from ttsw.profiles.schema import Profile, SessionLevel, Slo


def bench(
    gpu: Annotated[int | None, typer.Option(help="CUDA number of the GPU to measure.")] = None,
    cpu: Annotated[bool, typer.Option("--cpu", help="Measure the CPU.")] = False,
    model: Annotated[list[str] | None, typer.Option(help="Model to measure; repeatable. By default all.")] = None,
    out_file: Annotated[
        Path | None, typer.Option("--out", "-o", help="File of the profile; by default among your own profiles.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace an existing profile, or override a shipped one.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Measure for minutes instead of a quarter of an hour per model.")
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="Measure longer and more.")] = False,
    slo_ttfa_ms: Annotated[float, typer.Option(help="95th percentile of time to first audio, ms.")] = 300.0,
    as_json: Annotated[bool, typer.Option("--json", help="Also write the profile as JSON to stdout.")] = False,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Configuration file (YAML).")] = None,
    simulate: Annotated[
        str | None, typer.Option(metavar="PROFILE", help="Measure a simulation of this profile's device.")
    ] = None,
) -> None:
    """Measure models under load, and write a profile: their session limits and memory.

    Ctrl-C ends it and keeps what is measured, as NAME.partial.yaml, by which no server runs.
    """
    plan, slo = choose_plan(quick=quick, full=full), choose_slo(slo_ttfa_ms)
    if sum((gpu is not None, cpu, simulate is not None)) > 1:
        raise InvalidArgumentError("--gpu, --cpu and --simulate are three things to measure; give one of them")
    target, models = _target(gpu, config, simulate, model or [], cpu=cpu)
    file = out_file or own_folder(os.environ) / f"{name_of(target.facts())}.yaml"
    check_target(file, replace=replace)
    with Shown() as shown:
        found = trio.run(partial(measure, target, models, plan=plan, slo=slo, progress=shown, name=profile_name(file)))
    if found.profile is None:
        err.print("interrupted before anything was measured; nothing is written")
        raise typer.Exit(130)
    if found.interrupted:
        file = file.with_name(f"{file.stem}{PARTIAL}")
    profile = keep(found.profile, file)
    if as_json:
        write_json(json.loads(profile.model_dump_json()))
    else:
        out.print(summary(profile))
    for text in profile.disturbances:
        err.print(f"[yellow]disturbed:[/] {escape(text)}", soft_wrap=True)
    if found.interrupted:
        err.print(f"interrupted: {escape(str(file))} has the figures until then; no server runs by it", soft_wrap=True)
        raise typer.Exit(130)
    by = file if out_file else profile.name
    err.print(f"{escape(str(file))} is written; ttsw serve --profile {escape(str(by))} runs by it", soft_wrap=True)


def choose_plan(*, quick: bool, full: bool) -> BenchPlan:
    """Choose how much is measured.

    Raises:
        InvalidArgumentError: Both are asked for.
    """
    if quick and full:
        raise InvalidArgumentError("--quick and --full are opposites; give one of them, or neither")
    return QUICK if quick else FULL if full else NORMAL


def choose_slo(ttfa_ms: float) -> Slo:
    """Say what a level must keep to.

    Raises:
        InvalidArgumentError: That can't be kept.
    """
    if not 0 < ttfa_ms < math.inf:
        raise InvalidArgumentError(f"--slo-ttfa-ms must be more than 0, and not {ttfa_ms:g}")
    return Slo(ttfa_ms=ttfa_ms)


def _target(
    gpu: int | None, file: Path | None, simulate: str | None, named: list[str], *, cpu: bool
) -> tuple[Target, list[str]]:
    """What is to be measured, and which of its models; a GPU if there is one, and nothing is said."""
    config = load_config(file, os.environ, {})
    if simulate is not None:
        path = find_profile(simulate, os.environ).absolute()
        profile = read_profile(path)
        return Target(config, simulate=path, simulated=profile), simulated_models(profile, named)
    devices = find_devices()
    if gpu is None and not cpu and len(devices) > 1:
        gpu = 0
    found = None if gpu is None else find_gpu(gpu)
    if found is not None:
        refuse_whole_mig(found)
    target = Target(config, found)
    device = None if found is None else target.device_id
    return target, choose_models(config, find_packs(config), named, devices, gpu=device)


def summary(profile: Profile) -> Table:
    """Put a profile's most important figures in a table."""
    table = Table(
        "model", "MB", "MB a session", "load", "sessions", "published", "bound by", "TTFA p95", "RTF", box=None
    )
    for model_id, facts in profile.models.items():
        best = best_level(facts.sweep, facts.sessions)
        published = profile.derived.sessions.get(model_id)
        table.add_row(
            escape(model_id),
            f"{facts.size_mb:.0f}",
            "" if facts.session_mb is None else f"{facts.session_mb.median:.1f}",
            "" if facts.load is None else f"{facts.load.load_s.median:.2f} s",
            "?" if facts.sessions is None else str(facts.sessions),
            "" if published is None else str(published),
            facts.bound or "",
            "" if best is None or best.ttfa_ms is None else f"{best.ttfa_ms.p95:.0f} ms",
            "" if best is None or best.rtf is None else f"{best.rtf.p50:.3f}",
        )
    return table


def best_level(sweep: tuple[SessionLevel, ...], sessions: int | None) -> SessionLevel | None:
    """The last measurement of the limit."""
    alike = [level for level in sweep if level.sessions == sessions and level.passed and level.arrivals == "closed"]
    return alike[-1] if alike else None


class Shown:
    """Shows how a measurement gets on: a line for what is done now, and one for each level as it comes."""

    def __init__(self) -> None:
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[left]}"),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )
        self._task = self._bars.add_task("starting", total=None, left="")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def stage(self, text: str, left_s: float) -> None:
        """See `ttsw.profiler.model_bench.Progress`."""
        left = left_words(left_s)
        self._bars.update(self._task, description=escape(text), left=left)
        if not err.is_terminal:
            err.print(f"[dim]{escape(text)}; {left}[/]", soft_wrap=True)

    def level(self, model_id: str, level: SessionLevel, kind: str) -> None:
        """See `ttsw.profiler.model_bench.Progress`."""
        err.print(level_line(model_id, level, kind), soft_wrap=True)


def left_words(seconds: float) -> str:
    """Say how long it will take.

    >>> left_words(30), left_words(200), left_words(6000)
    ('about 30 s left', 'about 4 min left', 'about 1 h 40 min left')
    """
    if seconds < 90:
        return f"about {math.ceil(seconds / 10) * 10} s left"
    hours, minutes = divmod(math.ceil(seconds / 60), 60)
    return f"about {hours} h {minutes} min left" if hours else f"about {minutes} min left"


def level_line(model_id: str, level: SessionLevel, kind: str) -> str:
    """Tell a level in a line."""
    mark = "[green]✓[/]" if level.passed else "[red]✗[/]"
    parts = [f"{level.sessions:4} sessions"]
    if level.ttfa_ms is not None:
        parts.append(f"TTFA p95 {level.ttfa_ms.p95:.0f} ms")
    if level.rtf is not None:
        parts.append(f"RTF {level.rtf.p50:.3f}")
    if level.c100 is not None:
        parts.append(f"C100 {level.c100:g} %")
    if level.stop_ms is not None:
        parts.append(f"STOP p95 {level.stop_ms.p95:.0f} ms")
    if level.memory_mb is not None:
        parts.append(f"{level.memory_mb:.0f} MB")
    why = f": {escape(level.why)}" if level.why else ""
    arrivals = ", by chance" if level.arrivals == "poisson" else ""
    return f"{mark} {escape(model_id)} {', '.join(parts)} [dim]({escape(kind)}{arrivals}, n {level.utterances})[/]{why}"
