"""How two profiles differ, figure by figure, and whether that is more than chance.

A figure that was measured several times has a spread: its lowest and highest value; a percentile's is from the median
to the 99th. Two figures differ beyond it where each lies outside the other's, and by more than `LIKELY` as well.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from ttsw.profiles.schema import ModelFacts, Percentiles, Profile, SessionLevel, Spread

LIKELY = 0.1
"""A difference up to this share says nothing."""
_MORE_IS_BETTER = re.compile("C100|memory returned|sessions|budget|models in memory|device: memory")
"""Of these, the greater figure is the better one; of all others, the smaller."""


class Figure(NamedTuple):
    """A number, and its spread.

    Args:
        value: The number.
        low: The lowest that was seen.
        high: The highest.
    """

    value: float
    low: float
    high: float


class ComparisonRow(NamedTuple):
    """Something of two profiles.

    Args:
        what: What it is, in words.
        a: What the first says; None where it says nothing.
        b: What the second says.
        change: By which share of the first the second differs; None where that can't be said.
        beyond: Whether it differs beyond the spread of both; of texts, whether they differ.
        worse: Whether it does, and the second is the worse one.
    """

    what: str
    a: float | str | None
    b: float | str | None
    change: float | None
    beyond: bool
    worse: bool = False


def diff(a: Profile, b: Profile) -> list[ComparisonRow]:
    """Compare two profiles: everything that either says, in the order of the first."""
    first, second = _merge(_facts(a)), _merge(_facts(b))
    return [
        _row(what, first.get(what), second.get(what))
        for what in [*first, *(what for what in second if what not in first)]
    ]


def drift(profile: Profile, again: Profile) -> list[ComparisonRow]:
    """Give what was measured again and is out: figures beyond their spread, and published sessions that don't hold."""
    first, second = _merge(_measured(profile)), _merge(_measured(again))
    rows = [_row(what, first[what], second[what]) for what in first if what in second]
    return [*(row for row in rows if row.beyond), *_broken(profile, again)]


def _broken(profile: Profile, again: Profile) -> Iterator[ComparisonRow]:
    """What was published, and didn't keep the SLOs again."""
    for model_id, facts in again.models.items():
        for level in facts.sweep:
            if not level.passed and level.sessions <= profile.derived.sessions.get(model_id, 0):
                what = f"{model_id}: SLOs at {level.sessions}"
                yield ComparisonRow(
                    what, "kept", f"not kept: {level.why}" if level.why else "not kept", None, True, True
                )


def _merge(facts: Iterable[tuple[str, Figure | str]]) -> dict[str, Figure | str]:
    """Put what was measured several times into one figure: the last value, and the spread of all."""
    merged: dict[str, Figure | str] = {}
    for what, fact in facts:
        before = merged.get(what)
        if isinstance(fact, Figure) and isinstance(before, Figure):
            merged[what] = Figure(fact.value, min(fact.low, before.low), max(fact.high, before.high))
        else:
            merged[what] = fact
    return merged


def _row(what: str, a: Figure | str | None, b: Figure | str | None) -> ComparisonRow:
    if isinstance(a, Figure) and isinstance(b, Figure):
        change = None if a.value == 0 else (b.value - a.value) / abs(a.value)
        beyond, less = _beyond(a, b), b.value < a.value
        return ComparisonRow(
            what, a.value, b.value, change, beyond, beyond and less == bool(_MORE_IS_BETTER.search(what))
        )
    first = a.value if isinstance(a, Figure) else a
    second = b.value if isinstance(b, Figure) else b
    return ComparisonRow(what, first, second, None, first != second and None not in {first, second})


def _beyond(a: Figure, b: Figure) -> bool:
    apart = not (a.low <= b.value <= a.high) and not (b.low <= a.value <= b.high)
    return apart and abs(b.value - a.value) > LIKELY * abs(a.value)


def _facts(profile: Profile) -> Iterator[tuple[str, Figure | str]]:
    device, derived = profile.device, profile.derived
    yield "provenance", profile.provenance
    yield "device", device.name
    yield "device: memory, MB", _one(device.memory_mb)
    texts = {"device: driver": device.driver, **{f"software: {k}": v for k, v in profile.software.items()}}
    yield from ((what, text) for what, text in texts.items() if text is not None)
    yield "SLO: TTFA, ms", _one(profile.slo.ttfa_ms)
    yield "SLO: C100, %", _one(profile.slo.c100_percent)
    yield from _measured(profile)
    for model_id, facts in profile.models.items():
        if facts.sessions is not None:
            yield f"{model_id}: sessions", _one(facts.sessions)
        if facts.digest is not None:
            yield f"{model_id}: files", facts.digest[:12]
    yield "budget, MB", _one(derived.budget_mb)
    yield "models in memory", _one(derived.resident_cap)
    for model_id, sessions in derived.sessions.items():
        yield f"{model_id}: sessions published", _one(sessions)
    yield "sessions in all", _one(derived.mixed_sessions)


def _measured(profile: Profile) -> Iterator[tuple[str, Figure]]:
    if profile.floor_mb is not None:
        yield "floor of a process, MB", _one(profile.floor_mb)
    for model_id, facts in profile.models.items():
        for what, figure in _of_model(facts):
            yield f"{model_id}: {what}", figure


def _of_model(facts: ModelFacts) -> Iterator[tuple[str, Figure]]:
    load = facts.load
    numbers: Mapping[str, float | Spread | None] = {
        "size, MB": facts.size_mb,
        "peak, MB": facts.peak_mb,
        "tensors, MB": facts.allocated_mb,
        "a session, MB": facts.session_mb,
        "load, s": load.load_s if load else None,
        "unload, s": load.unload_s if load else None,
        "memory returned, %": load.returned_percent if load else None,
    }
    for what, number in numbers.items():
        if isinstance(number, Spread):
            yield what, Figure(number.median, number.low, number.high)
        elif number is not None:
            yield what, _one(number)
    for level in facts.sweep:
        chance = " by chance" if level.arrivals == "poisson" else ""
        for what, figure in _of_level(level):
            yield f"{what} at {level.sessions}{chance}", figure


def _of_level(level: SessionLevel) -> Iterator[tuple[str, Figure]]:
    percentiles: Mapping[str, Percentiles | None] = {
        "TTFA p95, ms": level.ttfa_ms,
        "RTF p95": level.rtf,
        "STOP p95, ms": level.stop_ms,
    }
    for what, several in percentiles.items():
        if several is not None:
            yield what, Figure(several.p95, several.p50, several.p99)
    if level.c100 is not None:
        yield "C100, %", _one(level.c100)


def _one(number: float) -> Figure:
    return Figure(number, number, number)
