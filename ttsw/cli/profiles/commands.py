"""`ttsw profiles`: which there are, what they say, how they differ, whether they still hold, what would fit."""

import json
import os
from functools import partial
from pathlib import Path
from typing import Annotated

import trio
import typer
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from ttsw.cli.profiles.plan import UNTOLD, FitPlan, find_card_for, find_models, read_size
from ttsw.cli.profiles.plan import plan as make_plan
from ttsw.cli.profiles.view import shown
from ttsw.cli.ui.console import err, out, write_json
from ttsw.config import load_config
from ttsw.errors import ConfigError, InvalidArgumentError
from ttsw.profiler.verify import verify as measure_again
from ttsw.profiles.comparison import ComparisonRow, diff, drift
from ttsw.profiles.estimation import MARGIN
from ttsw.profiles.files import Listed, find_profile, list_profiles, read_profile
from ttsw.profiles.html_page import to_html
from ttsw.profiles.schema import Profile, SessionLevel

profiles_app = typer.Typer(help="Device profiles: list, show, compare, verify and plan.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME|FILE", help="Name or file of a profile.")]
Config = Annotated[Path | None, typer.Option("--config", "-c", help="Configuration file (YAML).")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON.")]


@profiles_app.command("list")
def list_all(as_json: Json = False) -> None:
    """List the profiles, shipped and your own, with the faults of broken ones."""
    listed = list_profiles(os.environ)
    if as_json:
        write_json([_plain(each) for each in listed])
        return
    table = Table("profile", "device", "provenance", "date", "models", "sessions", "from", box=None)
    for each in listed:
        table.add_row(*map(_coloured, _cells(each)))
    out.print(table)
    for each in listed:
        if each.fault:
            out.print(f"[red]broken:[/] {escape(each.fault)}", soft_wrap=True)


def _cells(each: Listed) -> tuple[str, ...]:
    if each.profile is None:
        return (each.name, "", "broken", "", "", "", each.origin)
    profile = each.profile
    sessions = ", ".join(f"{name} {count}" for name, count in profile.derived.sessions.items())
    date = f"{profile.date:%Y-%m-%d}"
    return each.name, profile.device.name, profile.provenance, date, str(len(profile.models)), sessions, each.origin


_COLOURS = {"measured": "green", "estimated": "yellow", "partial": "yellow", "broken": "red"}


def _coloured(text: str) -> str:
    return f"[{_COLOURS[text]}]{text}[/]" if text in _COLOURS else escape(text)


def _plain(each: Listed) -> dict[str, object]:
    told: dict[str, object] = {"name": each.name, "file": str(each.path), "from": each.origin, "fault": each.fault}
    if each.profile is not None:
        profile = each.profile
        told |= {
            "provenance": profile.provenance,
            "device": profile.device.name,
            "date": profile.date.isoformat(),
            "models": list(profile.models),
            "sessions": dict(profile.derived.sessions),
        }
    return told


@profiles_app.command()
def show(
    name: Name,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write an HTML page with plots.")] = None,
    as_json: Json = False,
) -> None:
    """Show a profile: what fits, and time to first audio and continuity by concurrent sessions."""
    profile = _read(name)
    if html is not None:
        try:
            html.write_text(to_html(profile), encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{html}: the page cannot be written: {error.strerror}") from None
        err.print(f"written: {escape(str(html))}", soft_wrap=True)
    if as_json:
        write_json(json.loads(profile.model_dump_json(exclude_none=True)))
    elif html is None:
        out.print(shown(profile))


@profiles_app.command("diff")
def compare(a: Name, b: Name, as_json: Json = False) -> None:
    """Compare two profiles, figure by figure; ● marks significant differences."""
    rows = diff(_read(a), _read(b))
    if as_json:
        write_json([row._asdict() for row in rows])
        return
    different = [row for row in rows if row.a != row.b]
    out.print(_rows(different, a, b) if different else "they say the same")


def _rows(rows: list[ComparisonRow], a: str, b: str) -> Table:
    table = Table("", escape(a), escape(b), "change", "", box=None)
    for row in rows:
        change = "" if row.change is None else f"{row.change:+.0%}"
        table.add_row(escape(row.what), _figure(row.a), _figure(row.b), change, "[red]●[/]" if row.beyond else "")
    return table


def _figure(value: float | str | None) -> str:
    if value is None:
        return "[dim]–[/]"
    return escape(value) if isinstance(value, str) else (f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}")


@profiles_app.command()
def plan(
    vram: Annotated[str | None, typer.Option("--vram", metavar="SIZE", help="The GPU's memory: 24GB.")] = None,
    models: Annotated[
        str, typer.Option("--models", metavar="ID,ID…", help="Models; by default all made for GPUs.")
    ] = "",
    card: Annotated[str | None, typer.Option("--card", metavar="NAME", help="A known GPU: rtx4090.")] = None,
    bandwidth: Annotated[
        float | None, typer.Option("--bandwidth", metavar="GB/S", min=1, help="Memory bandwidth.")
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Estimate what fits on a GPU: models in memory and, if its speed is known, sessions."""
    gpu = find_card_for(card, None if vram is None else read_size(vram), bandwidth)
    if vram is None and card is None:
        raise InvalidArgumentError("say how much memory the GPU has (--vram 24GB), or which it is (--card rtx4090)")
    memory_mb = read_size(vram) if vram is not None else gpu.memory_mb if gpu is not None else 0.0
    names = [name for each in models.split(",") if (name := each.strip())]
    found = make_plan(find_models(load_config(config, os.environ, {}), config, names), memory_mb, gpu)
    if as_json:
        write_json(_plain_plan(found))
    else:
        out.print(_told_plan(found))


def _told_plan(plan: FitPlan) -> RenderableType:
    derived, speed = plan.derived, plan.card is not None
    table = Table("model", "size, MB", "peak, MB", "size is", "in memory", "sessions", "bound by", box=None)
    for name, each in plan.models.items():
        published = derived.sessions.get(name)
        alone = f"memory for {plan.room[name]}" if name in plan.room and not speed else ""
        table.add_row(
            escape(name),
            f"{each.facts.size_mb:.0f}",
            f"{each.facts.peak_mb:.0f}",
            each.source,
            "[green]yes[/]" if name in derived.resident else "[red]no[/]",
            alone if published is None else str(published),
            plan.bound.get(name) or "",
        )
    fits = ", ".join(derived.resident) or "none of them fits"
    lines: list[RenderableType] = [
        f"{plan.memory_mb:.0f} MB, of which {derived.budget_mb:.0f} MB are for models and their sessions",
        table,
        f"in memory together: [bold]{escape(fits)}[/] (resident_cap: {derived.resident_cap})",
    ]
    if not speed:
        lines.append("how many sessions it computes in time isn't known: give --card NAME or --bandwidth GB/S")
        return Group(*lines)
    lines.append(f"sessions at once where several models speak: {derived.mixed_sessions}")
    lines.append(
        f"[yellow]estimated, not measured:[/] {MARGIN:.0%} of what a formula gives; ttsw bench measures what is so"
    )
    if plan.card is not None and plan.card.product == UNTOLD:
        lines.append("only the time to read memory is counted, since nothing is known of how fast it computes")
    return Group(*lines)


def _plain_plan(plan: FitPlan) -> dict[str, object]:
    models = {
        name: {
            "size_mb": round(each.facts.size_mb, 1),
            "peak_mb": round(each.facts.peak_mb, 1),
            "size_is": each.source,
            "memory_for_sessions": plan.room.get(name),
            "bound": plan.bound.get(name),
        }
        for name, each in plan.models.items()
    }
    derived = plan.derived.model_dump(mode="json")
    if plan.card is None:  # without its speed, nothing is known of sessions
        derived |= {"sessions": None, "mixed_sessions": None}
    return {"provenance": "estimated", "memory_mb": round(plan.memory_mb, 1), **derived, "models": models}


class _Told:
    """Says on stderr how a measurement gets on."""

    @staticmethod
    def stage(text: str, left_s: float) -> None:
        """See `ttsw.profiler.model_bench.Progress`."""
        err.print(f"[dim]{escape(text)} … about {left_s:.0f} s[/]", soft_wrap=True)

    @staticmethod
    def level(model_id: str, level: SessionLevel, kind: str) -> None:
        """See `ttsw.profiler.model_bench.Progress`."""
        ttfa = f", TTFA p95 {level.ttfa_ms.p95:.0f} ms" if level.ttfa_ms else ""
        held = "kept" if level.passed else f"not kept: {level.why}"
        err.print(
            f"[dim]{escape(model_id)}, {kind}: {level.sessions} at once{ttfa}, SLOs {escape(held)}[/]", soft_wrap=True
        )


@profiles_app.command()
def verify(
    name: Name,
    seconds: Annotated[float, typer.Option("--seconds", min=10, max=3600, help="Approximate time limit.")] = 60.0,
    gpu: Annotated[
        int | None, typer.Option(help="CUDA number of the GPU; by default one that matches the profile.")
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Measure a profile's figures again, in about a minute; exit with 1 if one got worse."""
    profile = _read(name)
    settings = load_config(config, os.environ, {})
    again = trio.run(partial(measure_again, profile, config=settings, seconds=seconds, gpu=gpu, progress=_Told()))
    rows = drift(profile, again)
    missing = sorted(profile.models.keys() - again.models.keys())
    if as_json:
        told = {
            "drifted": [row._asdict() for row in rows],
            "not_measured": missing,
            "measured": again.model_dump(mode="json"),
        }
        write_json(told)
    else:
        for text in again.disturbances:
            err.print(f"[yellow]disturbed:[/] {escape(text)}", soft_wrap=True)
        out.print(_rows(rows, profile.name, "now") if rows else f"{escape(profile.name)} holds")
        if rows and not any(row.worse for row in rows):
            out.print(f"{escape(profile.name)} holds: what differs has got better; ttsw bench measures it anew")
        if missing:
            out.print(f"not measured: {escape(', '.join(missing))}")
    if any(row.worse for row in rows):
        raise typer.Exit(1)


def _read(name: str) -> Profile:
    return read_profile(find_profile(name, os.environ))
