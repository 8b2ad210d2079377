"""Decides how many sessions to measure next, and when the limit of a model is found.

Doubles from one session until a level fails or memory would not last, halves the interval between what passed and what
failed, then has the candidate confirmed several times, and the level below it too. A candidate that fails is lowered,
by more each time, so that the search ends soon under noise as well. A level whose memory would not last is never run.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ttsw.profiles.schema import Bound

Kind = Literal["probe", "confirm"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a level.

    Args:
        sessions: How many there were.
        kind: What it was run for.
        passed: Whether it kept to the SLOs.
        bound: What it failed by.
        memory_mb: The most memory that was in use meanwhile.
    """

    sessions: int
    kind: Kind
    passed: bool
    bound: Bound | None = None
    memory_mb: float | None = None


@dataclass(frozen=True, slots=True)
class SearchLimits:
    """What a search keeps to.

    Args:
        most: So many sessions at most.
        ceiling_mb: Memory that may be in use; None where nobody knows.
        base_mb: Memory in use with the model loaded and nobody speaking.
        session_mb: What a session takes, where that was measured before.
        confirmations: How often the candidate has to pass.
        factor: Levels grow by this, until one fails.
        coarse: The interval need not get smaller than this share of what passed.
        second_chance: Whether a level that fails is run once more before that counts: each one, the first one only
            (from which all else follows), or none.
    """

    most: int
    ceiling_mb: float | None = None
    base_mb: float | None = None
    session_mb: float | None = None
    confirmations: int = 3
    factor: int = 2
    coarse: float = 0.0
    second_chance: Literal["each", "first", "none"] = "each"


@dataclass(frozen=True, slots=True)
class RunLevel:
    """Measure this level next."""

    sessions: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class SearchDone:
    """The limit is found: so many sessions, and what kept it from more."""

    sessions: int
    bound: Bound


def next_step(outcomes: Sequence[Outcome], limits: SearchLimits) -> RunLevel | SearchDone:
    """Decide what comes after these levels.

    >>> next_step([], SearchLimits(64))
    RunLevel(sessions=1, kind='probe')
    >>> next_step([Outcome(1, "probe", True), Outcome(2, "probe", True)], SearchLimits(2, confirmations=0))
    SearchDone(sessions=2, bound='search')
    """
    roof, roof_bound = _roof(outcomes, limits)
    failed = _failed(outcomes, limits)
    if isinstance(failed, RunLevel):
        return failed
    high, bound = min([(roof + 1, roof_bound), *failed], key=lambda each: each[0])
    low = max((each.sessions for each in outcomes if _good(each, limits) and each.sessions < high), default=0)
    if high <= 1:
        return SearchDone(0, bound)
    lowered = _lowered(outcomes, limits)
    if lowered is not None and high > lowered:
        low = lowered
    elif high - low > max(1, int(low * limits.coarse)):
        return RunLevel((low + high) // 2 if failed and low else min(max(1, limits.factor * low), high - 1), "probe")
    if low == 0:
        return SearchDone(0, bound)
    return _confirm(low, bound, outcomes, limits)


def fits(sessions: int, outcomes: Sequence[Outcome], limits: SearchLimits) -> bool:
    """Say whether memory lasts for so many sessions, by what was seen so far.

    >>> fits(5, [Outcome(2, "probe", True, memory_mb=120.0)], SearchLimits(64, ceiling_mb=150.0, base_mb=100.0))
    True
    >>> fits(6, [Outcome(2, "probe", True, memory_mb=120.0)], SearchLimits(64, ceiling_mb=150.0, base_mb=100.0))
    False
    """
    if limits.ceiling_mb is None:
        return True
    seen: dict[int, float] = {}
    for each in outcomes:
        if each.memory_mb is not None:
            seen[each.sessions] = max(each.memory_mb, seen.get(each.sessions, 0.0))
    if len(seen) < 2 and limits.base_mb is not None:
        seen[0] = limits.base_mb  # what the first session brings with it once counts for each, until more is known
    if not seen:
        return True
    top = max(seen)
    lower = {min(seen), _second(seen)} - {top}
    slopes = [(seen[top] - seen[count]) / (top - count) for count in lower]
    most_mb = max(seen.values())  # memory that wasn't seen at the last level is no less needed
    return most_mb + max([limits.session_mb or 0.0, 0.0, *slopes]) * (sessions - top) <= limits.ceiling_mb


def _second(levels: Iterable[int]) -> int:
    """The highest level but one that isn't near the highest: a slope over few sessions is mostly noise."""
    ordered = sorted(levels)
    return max((level for level in ordered if level <= ordered[-1] * 0.75), default=ordered[0])


def _roof(outcomes: Sequence[Outcome], limits: SearchLimits) -> tuple[int, Bound]:
    """The most sessions that may be run at all."""
    if fits(limits.most, outcomes, limits):
        return limits.most, "search"
    low, high = 0, limits.most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle, outcomes, limits) else (low, middle)
    return low, "memory"


def _good(outcome: Outcome, limits: SearchLimits) -> bool:
    return outcome.passed and not _overfull(outcome, limits)


def _overfull(outcome: Outcome, limits: SearchLimits) -> bool:
    return None not in {limits.ceiling_mb, outcome.memory_mb} and (outcome.memory_mb or 0) > (limits.ceiling_mb or 0)


def _failed(outcomes: Sequence[Outcome], limits: SearchLimits) -> RunLevel | list[tuple[int, Bound]]:
    """The levels that failed for good, and by what; or the one that gets a second chance."""
    failed: list[tuple[int, Bound]] = []
    for each in outcomes:
        if _good(each, limits):
            continue
        bound: Bound = "memory" if _overfull(each, limits) else each.bound or "errors"
        alike = [other for other in outcomes if other.sessions == each.sessions and other.kind == "probe"]
        chance = limits.second_chance == "each" or (limits.second_chance == "first" and not failed)
        if each.kind == "probe" and chance and bound != "memory":
            if len(alike) == 1:
                return RunLevel(each.sessions, "probe")
            if any(_good(other, limits) for other in alike):
                continue
        failed.append((each.sessions, bound))
    return failed


def _refuted(outcomes: Sequence[Outcome], limits: SearchLimits) -> list[int]:
    """The candidates whose confirmation failed, in the order of their failing."""
    return [each.sessions for each in outcomes if each.kind == "confirm" and not _good(each, limits)]


def _lowered(outcomes: Sequence[Outcome], limits: SearchLimits) -> int | None:
    """The candidate after failed confirmations: a step lower (1, or half of what it may be off), then 2, 4, 8 steps."""
    refuted = _refuted(outcomes, limits)
    if not refuted:
        return None
    step = max(1, int(refuted[0] * limits.coarse / 2))
    return max(int(min(refuted) > 1), refuted[-1] - (step << (len(refuted) - 1)))


def _confirm(candidate: int, bound: Bound, outcomes: Sequence[Outcome], limits: SearchLimits) -> RunLevel | SearchDone:
    def passes(sessions: int, kinds: set[Kind]) -> int:
        return sum(_good(each, limits) for each in outcomes if each.sessions == sessions and each.kind in kinds)

    if passes(candidate, {"confirm"}) < limits.confirmations:
        return RunLevel(candidate, "confirm")
    if candidate > 1 and limits.confirmations and not passes(candidate - 1, {"probe", "confirm"}):
        return RunLevel(candidate - 1, "confirm")
    return SearchDone(candidate, bound)
