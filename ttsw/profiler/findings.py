"""What was found so far, model by model: kept step by step, so that what ends a measurement leaves what there is."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

from ttsw.profiler.subject import ServerSnapshot
from ttsw.profiles.schema import Bound, Interference, LoadFacts, ModelFacts, SessionLevel, Spread


@dataclass
class Cycle:
    """A load of a model, and its unload if there was one.

    Args:
        load_s: How long the load took.
        before_mb: Memory in use before,
        peak_mb: at most meanwhile,
        settled_mb: and after.
        unload_s: How long the unload took.
        after_mb: Memory in use after it.
    """

    load_s: float
    before_mb: float
    peak_mb: float
    settled_mb: float
    unload_s: float | None = None
    after_mb: float | None = None


@dataclass
class ModelFindings:
    """What is known of a model so far.

    Args:
        seen: What the server tells of it.
        cycles: Its loads.
        first_ms: Time to first audio of the first utterance after a load,
        second_ms: and of the second.
        session_mb: Memory of a session, by pairs of levels.
        sweep: The levels that were measured.
        sessions: The limit.
        bound: What bound it.
    """

    seen: ServerSnapshot
    cycles: list[Cycle] = field(default_factory=list)
    first_ms: float | None = None
    second_ms: float | None = None
    session_mb: list[float] = field(default_factory=list)
    sweep: list[SessionLevel] = field(default_factory=list)
    sessions: int | None = None
    bound: Bound | None = None

    def facts(self) -> ModelFacts | None:
        """What a profile says of it; None where not even its size is known."""
        if not self.cycles:
            return None
        size_mb = self.size_mb()
        return ModelFacts(
            family=self.seen.family,
            version=self.seen.version,
            digest=self.seen.digest,
            base=self.seen.base,
            size_mb=round(size_mb, 1),
            peak_mb=round(max(size_mb, *(each.peak_mb - each.before_mb for each in self._warm())), 1),
            allocated_mb=self.seen.allocated_mb,
            session_mb=spread(self.session_mb),
            load=self._load(),
            sessions=self.sessions,
            bound=self.bound,
            sweep=tuple(self.sweep),
        )

    def size_mb(self) -> float:
        """What it takes: as seen from outside, or as the server counts it, whichever is more.

        From outside, a load that finds memory which the process has kept seems to take less than it does.
        """
        outside = max(each.settled_mb - each.before_mb for each in self._warm())
        return max(0.0, outside, self.seen.size_mb or 0.0)

    def floor_mb(self) -> float | None:
        """What the server has in use once the model has come and gone for the first time, with its libraries."""
        return self.cycles[0].after_mb if self.cycles else None

    def _warm(self) -> list[Cycle]:
        """The loads after the first, which imports libraries and measures loudness; or that one, where it is alone."""
        return self.cycles[1:] or self.cycles

    def _load(self) -> LoadFacts:
        load = spread(each.load_s for each in self._warm())
        assert load is not None, "there is a cycle"
        later = self.cycles[1:]  # libraries stay behind after the first
        return LoadFacts(
            load_s=load,
            unload_s=spread(each.unload_s for each in later if each.unload_s is not None),
            returned_percent=_returned(later),
            leak_mb=leak_mb(self.cycles),
            first_ms=self.first_ms,
            second_ms=self.second_ms,
            lufs=self.seen.lufs,
        )


def _returned(cycles: Iterable[Cycle]) -> float | None:
    """How much of the memory came back, %: the middle of the unloads."""
    shares = [
        100 * (each.settled_mb - each.after_mb) / (each.settled_mb - each.before_mb)
        for each in cycles
        if each.after_mb is not None and each.settled_mb > each.before_mb
    ]
    return round(median(shares), 1) if shares else None


def leak_mb(cycles: Iterable[Cycle]) -> float | None:
    """What each load and unload leaves behind, MB: the slope after the first; None of fewer than two more.

    >>> cycles = [Cycle(1.0, 0, 0, 0, 1.0, after) for after in (50.0, 60.0, 70.0)]
    >>> leak_mb(cycles), leak_mb(cycles[:2])
    (10.0, None)
    """
    after = [each.after_mb for each in cycles if each.after_mb is not None][1:]
    if len(after) < 2:
        return None
    return round((after[-1] - after[0]) / (len(after) - 1), 2)


def spread(values: Iterable[float]) -> Spread | None:
    """The middle, the extremes and the number of values; None of none.

    >>> spread([3, 1, 2])
    Spread(median=2.0, low=1.0, high=3.0, n=3)
    """
    known = [round(value, 3) for value in values]
    return Spread(median=median(known), low=min(known), high=max(known), n=len(known)) if known else None


@dataclass
class Findings:
    """Everything that was found so far.

    Args:
        models: By id, in the order of their measuring.
        interference: What models do to each other.
        notes: What went wrong, in words.
    """

    models: dict[str, ModelFindings] = field(default_factory=dict)
    interference: list[Interference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def facts(self) -> dict[str, ModelFacts]:
        """What is known of each model of which enough is known."""
        known = {model_id: draft.facts() for model_id, draft in self.models.items()}
        return {model_id: facts for model_id, facts in known.items() if facts is not None}

    def floor_mb(self) -> float | None:
        """What a process takes before it has a model."""
        floors = [floor for draft in self.models.values() if (floor := draft.floor_mb()) is not None]
        return round(max(floors), 1) if floors else None
