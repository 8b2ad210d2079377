"""From what was measured to what a server runs by: budget, models in memory, sessions.

Memory is counted like this, in MB:

- *headroom*: left to others: the most of `LEAST_HEADROOM_MB` and `HEADROOM` of the device, if nothing else is said.
- *budget*: the device's memory, less the headroom, less what processes take that no model's size includes.
- A model takes its size, and one session's memory, so that each model in memory can speak. While one is loaded, it
  takes its peak: the largest difference between peak and size among those in memory is kept free for that.
- *resident* is the best choice of models under the budget (`ttsw.profiles.knapsack`); voices based on one of
  these fill what is left. *resident_cap* counts those that stand by themselves, as the server does; it is 1 where none
  fits.

Sessions are counted like this:

- *sessions* of a model: the margin's share of what was measured, rounded down, at least 1, and no more than there is
  memory for beside the model alone. A model that doesn't fit, or of which nothing was measured, has none.
- *mixed_sessions*: the least of those that may speak together, which are the resident ones, and no more than there is
  memory for beside all of these; for nobody has measured which mixture comes. Only where each two of them were measured
  beside each other, both ways, and kept the SLOs in the end, the least margin's share of those counts instead: if it is
  more, or some failed before with more sessions. Where any two failed to the end, it is less than that many.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import permutations

from ttsw.profiles.knapsack import Item, pack
from ttsw.profiles.schema import Bound, DerivedSettings, Interference, ModelFacts, SessionLevel

MARGIN = 0.9
"""The share of what was measured that is published: no two hours are alike."""

HEADROOM = 0.05
LEAST_HEADROOM_MB = 256.0
"""As the server's own memory_headroom_mb."""

_ROUNDING = 1e-9


def derive(
    models: Mapping[str, ModelFacts],
    memory_mb: float,
    *,
    floor_mb: float = 0.0,
    processes: int = 0,
    headroom_mb: float | None = None,
    margin: float = MARGIN,
    interference: Iterable[Interference] = (),
    values: Mapping[str, float] | None = None,
) -> DerivedSettings:
    """Derive what a server runs by.

    Args:
        models: What is known of each model, by id.
        memory_mb: The device's memory.
        floor_mb: What a process takes of the device before it has a model.
        processes: How many processes have that and aren't counted with their model's size.
        headroom_mb: Memory that is left to others.
        margin: The share of what was measured that is published.
        interference: What models were measured to do to each other; a level's sessions are those at once in all.
        values: What having a model in memory is worth, among as many; a model that isn't named is worth 0.
    """
    headroom = max(LEAST_HEADROOM_MB, HEADROOM * memory_mb) if headroom_mb is None else headroom_mb
    headroom = min(headroom, memory_mb)
    budget = max(0.0, memory_mb - headroom - floor_mb * processes)
    resident = _resident(models, budget, values or {})
    sessions = {
        model_id: found for model_id in sorted(models) if (found := _sessions(model_id, models, budget, margin))
    }
    together = [each for each in resident if each in sessions]
    measured = [each for each in interference if each.doing == "speaks"]
    pairs = [
        [each.level for each in measured if (each.speaking, each.beside) == pair] for pair in permutations(together, 2)
    ]
    return DerivedSettings(
        headroom_mb=headroom,
        budget_mb=budget,
        resident_cap=max(1, sum(not models[each].base for each in resident)),
        resident=resident,
        sessions=sessions,
        mixed_sessions=min(_mixed(together, sessions, pairs, margin), _room(together, resident, models, budget)),
        margin=margin,
    )


def binding(models: Mapping[str, ModelFacts], derived: DerivedSettings) -> dict[str, Bound | None]:
    """Say what keeps each model from more sessions: memory, where there is less than the rest would allow."""
    return {
        model_id: "memory"
        if (facts := models[model_id]).sessions is not None and _share(facts.sessions, derived.margin) > published
        else facts.bound
        for model_id, published in derived.sessions.items()
    }


def session_mb(facts: ModelFacts) -> float:
    """Give what a session of a model takes: the most that was measured; 0 where nothing was."""
    return max(0.0, facts.session_mb.high) if facts.session_mb else 0.0


def transient_mb(facts: ModelFacts) -> float:
    """Give what loading a model takes beyond its size."""
    return max(0.0, facts.peak_mb - facts.size_mb)


def _resident(models: Mapping[str, ModelFacts], budget: float, values: Mapping[str, float]) -> tuple[str, ...]:
    """Choose the models that stand by themselves, and then the voices on these."""

    def items(wanted: Collection[str]) -> list[Item]:
        return [
            Item(name, facts.size_mb + session_mb(facts), transient_mb(facts), max(0.0, values.get(name, 0.0)))
            for name, facts in models.items()
            if facts.base in wanted
        ]

    roots = pack(items({""}), budget)
    names = {item.name for item in roots}
    voices = pack(
        items(names), budget - sum(item.cost for item in roots), max((item.transient for item in roots), default=0.0)
    )
    return tuple(sorted(names | {item.name for item in voices}))


def _sessions(model_id: str, models: Mapping[str, ModelFacts], budget: float, margin: float) -> int | None:
    """Sessions of a model that is in memory alone, or with what it is based on; None where that can't be said."""
    facts = models[model_id]
    if facts.sessions is None:
        return None
    base = models.get(facts.base) if facts.base else None
    left = budget - (base.size_mb if base else 0.0)
    each = session_mb(facts)
    if max(facts.peak_mb, facts.size_mb + each) > left:
        return None
    return min(_share(facts.sessions, margin), _fitting(left - facts.size_mb, each))


def _share(sessions: int, margin: float) -> int:
    return max(1, math.floor(sessions * margin + _ROUNDING))


def _fitting(memory: float, each: float) -> int:
    return 10**9 if each <= 0 else max(1, math.floor(min(1e9, memory / each + _ROUNDING)))


def _mixed(
    together: Sequence[str], sessions: Mapping[str, int], pairs: Sequence[Sequence[SessionLevel]], margin: float
) -> int:
    """Sessions at once of models that speak together, as far as memory lets them; `pairs` is what was measured."""
    mixed = min((sessions[each] for each in together), default=1)
    failed = [level.sessions - 1 for levels in pairs for level in levels if not level.passed]
    if pairs and all(levels and levels[-1].passed for levels in pairs):
        kept = min(_share(levels[-1].sessions, margin) for levels in pairs)
        return kept if failed else max(mixed, kept)
    return max(1, min([mixed, *failed]))


def _room(together: Sequence[str], resident: Sequence[str], models: Mapping[str, ModelFacts], budget: float) -> int:
    """How many sessions there is memory for beside all resident models, while one of them is loaded."""
    used = sum(models[each].size_mb for each in resident)
    used += max((transient_mb(models[each]) for each in resident), default=0.0)
    return _fitting(budget - used, max((session_mb(models[each]) for each in together), default=0.0))
