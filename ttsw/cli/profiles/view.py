"""What a person sees of a profile in a terminal."""

from collections.abc import Iterator, Sequence
from itertools import chain

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from ttsw.cli.ui.plots import Series, plot
from ttsw.profiles.derivation import binding
from ttsw.profiles.schema import ModelFacts, Profile, SessionLevel, Slo


def shown(profile: Profile) -> RenderableType:
    """Show a whole profile."""
    return Group(*_summary(profile), _models(profile), *_resident(profile), *_sweeps(profile), *_rest(profile))


def _summary(profile: Profile) -> Iterator[RenderableType]:
    device, slo = profile.device, profile.slo
    cores = f", {device.cores} cores" if device.cores else ""
    yield f"[bold]{escape(profile.name)}[/]: {escape(device.name)}{cores}, {device.memory_mb:.0f} MB"
    if profile.provenance == "estimated":
        yield f"[bold yellow]estimated, not measured[/], on {profile.date:%Y-%m-%d}; ttsw bench measures what is so"
    elif profile.provenance == "partial":
        yield (
            f"[bold yellow]partial[/]: measured on {profile.date:%Y-%m-%d}, and interrupted; no server runs by it, "
            "and ttsw bench measures it whole"
        )
    else:
        yield f"[green]measured[/] on {profile.date:%Y-%m-%d}"
    yield f"SLO: TTFA p95 within {slo.ttfa_ms:g} ms, C100 {slo.c100_percent:g} %"
    yield from (f"[yellow]disturbed:[/] {escape(text)}" for text in profile.disturbances)
    yield ""


def _models(profile: Profile) -> Table:
    table = Table(
        "model", "size, MB", "peak, MB", "a session, MB", "load, s", "sessions", "published", "bound by", box=None
    )
    bound = binding(profile.models, profile.derived)
    for name, facts in profile.models.items():
        published = profile.derived.sessions.get(name)
        table.add_row(
            escape(name),
            f"{facts.size_mb:.0f}",
            f"{facts.peak_mb:.0f}",
            f"{facts.session_mb.median:.4g}" if facts.session_mb else "",
            f"{facts.load.load_s.median:.3g}" if facts.load else "",
            "" if facts.sessions is None else str(facts.sessions),
            "[red]doesn't fit[/]" if published is None and facts.sessions is not None else str(published or ""),
            bound.get(name) or facts.bound or "",
        )
    return table


def _resident(profile: Profile) -> Iterator[RenderableType]:
    derived = profile.derived
    yield ""
    yield (
        f"in memory together: {escape(', '.join(derived.resident) or 'none')} (resident_cap {derived.resident_cap}, "
        f"budget {derived.budget_mb:.0f} MB, headroom {derived.headroom_mb:.0f} MB)"
    )
    yield f"sessions in all: {derived.mixed_sessions}; published are {derived.margin:.0%} of what was found"


def _sweeps(profile: Profile) -> Iterator[RenderableType]:
    for name, facts in profile.models.items():
        if facts.sweep:
            yield ""
            yield f"[bold]{escape(name)}[/]"
            yield from _plots(facts, profile.slo)
            yield _levels([("", level) for level in facts.sweep])
    if profile.interference:
        yield ""
        yield "[bold]two models at once[/]"
        yield _levels([
            (f"{each.speaking} while {each.beside} {each.doing}", each.level) for each in profile.interference
        ])


def _plots(facts: ModelFacts, slo: Slo) -> Iterator[RenderableType]:
    closed = {level.sessions: level for level in facts.sweep if level.arrivals == "closed"}
    ordered = [closed[sessions] for sessions in sorted(closed)]
    ttfa = [(level.sessions, level.ttfa_ms) for level in ordered if level.ttfa_ms]
    lines = [
        Series(which, colour, [(sessions, getattr(each, which)) for sessions, each in ttfa])
        for which, colour in (("p99", "magenta"), ("p95", "yellow"), ("p50", "cyan"))
    ]
    shares = [
        Series(said, colour, [(each.sessions, share) for each in ordered if (share := getattr(each, key)) is not None])
        for said, key, colour in (("C0", "c0", "magenta"), ("C50", "c50", "yellow"), ("C100", "c100", "cyan"))
    ]
    first = plot("TTFA, ms", lines, limit=slo.ttfa_ms)
    second = plot("without gaps, %", shares, limit=slo.c100_percent, top=100)
    yield from chain(first, second)


def _levels(levels: Sequence[tuple[str, SessionLevel]]) -> RenderableType:
    table = Table(
        *("sessions", "TTFA p50", "p95", "p99, ms", "RTF p95", "STOP p95, ms", "gap, ms", "C0", "C50", "C100, %"),
        *("errors", "spoken", "SLOs"),
        box=None,
    )
    for what, level in levels:
        ttfa = level.ttfa_ms
        numbers = (
            *((ttfa.p50, ttfa.p95, ttfa.p99) if ttfa else (None,) * 3),
            level.rtf.p95 if level.rtf else None,
            level.stop_ms.p95 if level.stop_ms else None,
            *(level.largest_gap_ms, level.c0, level.c50, level.c100),
        )
        chance = " by chance" if level.arrivals == "poisson" else ""
        table.add_row(
            escape(f"{what}: " if what else "") + f"{level.sessions}{chance}",
            *("" if number is None else f"{number:.3g}" if number < 100 else f"{number:.0f}" for number in numbers),
            *(str(level.errors), str(level.utterances)),
            "[green]kept[/]" if level.passed else f"[red]not kept[/] {escape(level.why)}",
        )
    return Padding(table, (0, 0, 0, 2), expand=False)


def _rest(profile: Profile) -> Iterator[RenderableType]:
    if profile.provenance == "estimated" and not any(facts.sweep for facts in profile.models.values()):
        yield ""
        yield "no level of load was measured, so there is nothing to draw"
    if profile.notes:
        yield ""
        yield f"[dim]{escape(profile.notes)}[/]"
