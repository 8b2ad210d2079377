"""A profile as one page of HTML: charts and tables in one file, which loads nothing and runs nothing."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape

from ttsw.profiles.charts import Line, line_chart, memory_bar
from ttsw.profiles.derivation import binding, session_mb, transient_mb
from ttsw.profiles.schema import ModelFacts, Profile, SessionLevel, Slo

_STYLE = """
:root { color-scheme: light dark; --ground: #fff; --text: #1d232b; --dim: #66707c; --rule: #d9dee4; --slo: #c0392b;
  --a: #2a6fb8; --b: #d9820f; --c: #8a4fb0; --d: #2f8f5b; --e: #a8586b; --f: #5b6b7b; --free: #eef1f4; }
@media (prefers-color-scheme: dark) { :root { --ground: #14181d; --text: #e4e8ec; --dim: #96a1ad; --rule: #333b44;
  --slo: #ff7b6b; --a: #6db0f2; --b: #f3b04d; --c: #c597e6; --d: #6fcf9a; --e: #e39bac; --f: #a3b1bf;
  --free: #232a32; } }
body { background: var(--ground); color: var(--text); font: 15px/1.5 system-ui, sans-serif; max-width: 72rem;
  margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; } h2 { margin-top: 2.5rem; } .dim { color: var(--dim); }
.estimated { border-left: 4px solid var(--b); padding: .5rem 1rem; background: var(--free); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(22rem, 1fr)); gap: 1rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; } pre { white-space: pre-wrap; }
th, td { padding: .2rem .7rem .2rem 0; text-align: right; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th:first-child, td:first-child, td.text { text-align: left; } .why td { white-space: normal; }
svg { width: 100%; height: auto; } svg text { font-size: 11px; fill: var(--dim); } svg text.slo { fill: var(--slo); }
.grid { stroke: var(--rule); } line.slo { stroke: var(--slo); stroke-dasharray: 5 4; }
polyline { fill: none; stroke-width: 2; }
polyline.line-0 { stroke: var(--a); } polyline.line-1 { stroke: var(--b); } polyline.line-2 { stroke: var(--c); }
.line-0 { fill: var(--a); background: var(--a); } .line-1 { fill: var(--b); background: var(--b); }
.line-2 { fill: var(--c); background: var(--c); } polyline.line-0, polyline.line-1, polyline.line-2 { fill: none; }
.part-0 { fill: var(--f); background: var(--f); } .part-1 { fill: var(--a); background: var(--a); }
.part-2 { fill: var(--b); background: var(--b); } .part-3 { fill: var(--c); background: var(--c); }
.part-4 { fill: var(--d); background: var(--d); } .part-5 { fill: var(--e); background: var(--e); }
.free { fill: var(--free); background: var(--free); }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; padding: 0; margin: .2rem 0;
  font-size: 13px; } .legend i { display: inline-block; width: .8em; height: .8em; margin-right: .4em; }
.no, .why td { color: var(--slo); }
"""


def to_html(profile: Profile) -> str:
    """Make the page."""
    head = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(profile.name)}: a profile of ttsw</title><style>{_STYLE}</style></head><body>"
    )
    parts = [*_summary(profile), *_memory(profile), *_models(profile), *_rest(profile)]
    return "\n".join([head, *parts, "</body></html>\n"])


def _summary(profile: Profile) -> Iterator[str]:
    device, slo = profile.device, profile.slo
    yield f"<h1>{escape(profile.name)}</h1>"
    if profile.provenance == "estimated":
        yield '<p class="estimated"><strong>Estimated, not measured.</strong> Nothing here was seen to hold.</p>'
    if profile.provenance == "partial":
        yield '<p class="estimated"><strong>Partial.</strong> Measuring was interrupted; no server runs by it.</p>'
    yield (
        f'<p>{escape(device.name)}, {device.memory_mb:.0f} MB <span class="dim">· {profile.provenance} on '
        f"{profile.date:%Y-%m-%d} · SLO: TTFA p95 within {slo.ttfa_ms:g} ms, C100 {slo.c100_percent:g} %</span></p>"
    )
    if profile.disturbances:
        yield f'<p class="no">Disturbed: {escape("; ".join(profile.disturbances))}</p>'


def _memory(profile: Profile) -> Iterator[str]:
    derived, facts = profile.derived, [(each, profile.models[each]) for each in profile.derived.resident]
    sessions = max((session_mb(model) for _, model in facts), default=0.0) * derived.mixed_sessions
    parts = [("headroom", derived.headroom_mb), *((name, model.size_mb) for name, model in facts)]
    parts += [(f"{derived.mixed_sessions} sessions", sessions)] if sessions else []
    parts.append(("the largest load", max((transient_mb(model) for _, model in facts), default=0.0)))
    yield "<h2>What fits</h2>"
    yield memory_bar("memory", [part for part in parts if part[1] > 0], profile.device.memory_mb)
    yield (
        f"<p>Up to {derived.resident_cap} models in memory within {derived.budget_mb:.0f} MB, and "
        f"{derived.mixed_sessions} sessions in all where several models speak.</p>"
    )
    bound = binding(profile.models, derived)
    heading = (
        "model",
        "family",
        "size, MB",
        "peak, MB",
        "a session, MB",
        "load, s",
        "sessions",
        "published",
        "bound by",
    )
    yield table(heading, (_model_row(name, model, profile, bound) for name, model in profile.models.items()))


def _model_row(name: str, facts: ModelFacts, profile: Profile, bound: Mapping[str, str | None]) -> Sequence[object]:
    load = facts.load.load_s.median if facts.load else None
    session = facts.session_mb.median if facts.session_mb else None
    published = profile.derived.sessions.get(name)
    by = bound.get(name) or facts.bound
    return (name, facts.family, facts.size_mb, facts.peak_mb, session, load, facts.sessions, published, by)


def _models(profile: Profile) -> Iterator[str]:
    for name, facts in profile.models.items():
        closed = sorted((each for each in facts.sweep if each.arrivals == "closed"), key=lambda each: each.sessions)
        if not facts.sweep:
            continue
        yield f"<h2>{escape(name)}</h2>"
        yield f'<div class="charts"><div>{ttfa_chart(name, closed, profile.slo)}</div>'
        yield f"<div>{continuity_chart(name, closed, profile.slo)}</div></div>"
        yield level_table([("", each) for each in facts.sweep])
    if not any(facts.sweep for facts in profile.models.values()):
        yield "<p>No level of load was measured.</p>"
    if profile.interference:
        yield "<h2>Two models at once</h2>"
        yield level_table([
            (f"{each.speaking} while {each.beside} {each.doing}", each.level) for each in profile.interference
        ])


def ttfa_chart(name: str, levels: Sequence[SessionLevel], slo: Slo) -> str:
    """Draw time to first audio over sessions."""
    known = [(level.sessions, level.ttfa_ms) for level in levels if level.ttfa_ms]
    lines = [
        Line(which, [(sessions, getattr(ttfa, which)) for sessions, ttfa in known]) for which in ("p50", "p95", "p99")
    ]
    return line_chart(f"time to first audio of {name}", "TTFA, ms", lines, limit=slo.ttfa_ms)


def continuity_chart(name: str, levels: Sequence[SessionLevel], slo: Slo) -> str:
    """Draw the share of utterances without gaps over sessions."""
    named = {"C100": "c100", "C50": "c50", "C0": "c0"}
    lines = [
        Line(said, [(each.sessions, share) for each in levels if (share := getattr(each, key)) is not None])
        for said, key in named.items()
    ]
    return line_chart(f"continuity of {name}", "without gaps, %", lines, limit=slo.c100_percent, top=100)


_LEVEL = (
    *("sessions", "TTFA p50, ms", "p95, ms", "p99, ms", "RTF p95", "STOP p95, ms", "largest gap, ms"),
    *("C0, %", "C50, %", "C100, %", "errors", "spoken", "memory, MB", "SLOs"),
)


def level_table(levels: Iterable[tuple[str, SessionLevel]]) -> str:
    """Make the table of levels, each after what it is of, if there is anything to say of that.

    What a level doesn't keep to is told below it.
    """
    rows: list[str] = []
    for what, level in levels:
        ttfa = level.ttfa_ms
        said = f"{what}: " if what else ""
        chance = " (by chance)" if level.arrivals == "poisson" else ""
        cells = (
            f"{said}{level.sessions}{chance}",
            *((ttfa.p50, ttfa.p95, ttfa.p99) if ttfa else (None,) * 3),
            level.rtf.p95 if level.rtf else None,
            level.stop_ms.p95 if level.stop_ms else None,
            level.largest_gap_ms,
            level.c0,
            level.c50,
            level.c100,
            level.errors,
            level.utterances,
            level.memory_mb,
            "kept" if level.passed else "not kept",
        )
        rows.append(_row(cells))
        if level.why:
            rows.append(
                f'<tr class="why"><td></td><td class="text" colspan="{len(cells) - 1}">{escape(level.why)}</td></tr>'
            )
    return _table(_LEVEL, rows)


def _rest(profile: Profile) -> Iterator[str]:
    host, device = profile.host, profile.device
    facts: dict[str, object] = {
        f"device: {key.replace('_', ' ')}": value for key, value in device.model_dump(exclude_none=True).items()
    }
    facts |= {f"host: {key.replace('_', ' ')}": value for key, value in (host.model_dump() if host else {}).items()}
    facts |= {f"software: {name}": version for name, version in profile.software.items()}
    if profile.floor_mb is not None:
        facts["floor of a process, MB"] = profile.floor_mb
    yield "<h2>Where</h2>"
    yield table(("what", ""), facts.items())
    if profile.notes:
        yield f"<h2>Notes</h2><pre>{escape(profile.notes)}</pre>"


def table(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Make a table; what is absent stays empty."""
    return _table(heading, map(_row, rows))


def _table(heading: Sequence[str], rows: Iterable[str]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heading)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _row(cells: Sequence[object]) -> str:
    return f"<tr>{''.join(map(_cell, cells))}</tr>"


def _cell(value: object) -> str:
    if value is None:
        return "<td></td>"
    if isinstance(value, float):
        return f"<td>{value:.0f}</td>" if abs(value) >= 1000 else f"<td>{value:.4g}</td>"
    return f"<td>{value}</td>" if isinstance(value, int) else f'<td class="text">{escape(str(value))}</td>'
