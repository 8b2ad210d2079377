"""When a worker writes its record, whether it may, and what is worth a line in the log. Decides; does nothing.

Events come as method calls with the time, and are answered with the line to log, if there is one. A heartbeat comes
somewhat before its interval is over, at random, so that many workers don't beat as one. A change is written at once,
many changes in a row as one. After a failure the waits grow, at random too, up to a short one: a registry that is back
should know its workers soon.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ttsw.registry.record import WorkerRecord


class Condition(StrEnum):
    """How a worker stands with its registry."""

    REGISTERED = "registered"
    HELD = "held by another"
    AWAY = "away"
    SLOW = "slow to answer"
    LOGIN = "not letting us log in"
    FORBIDDEN = "not permitting this"
    READ_ONLY = "read-only"
    BUSY = "busy"
    FULL = "out of memory"
    REFUSED = "refusing this"
    UNDESCRIBED = "not told"
    """The worker could not say how it is."""


@dataclass(frozen=True, slots=True)
class Held:
    """Somebody has the name.

    Args:
        record: His record; None where what is there is none.
        now: Redis's time, Unix seconds.
        fault: Why it is none.
    """

    record: WorkerRecord | None
    now: float
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Tempo:
    """How often is written, s.

    Args:
        interval_s: Between heartbeats, at most.
        gap_s: Between two writes, at least.
        backoff_s: After a failure; doubles with each in a row,
        most_backoff_s: up to this.
    """

    interval_s: float
    gap_s: float = 0.1
    backoff_s: float = 0.25
    most_backoff_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Note:
    """A line for the log."""

    level: str
    event: str
    fields: Mapping[str, object] = field(default_factory=dict)


class Heartbeat:
    """When to write next, from what became of the writes before.

    Args:
        tempo: How often.
        random: Gives a number from 0 to 1.
    """

    def __init__(self, tempo: Tempo, random: Callable[[], float]) -> None:
        self._tempo, self._random = tempo, random
        self._changed = False
        self._began = self._well_at = -math.inf
        self._failures = 0
        self.condition: Condition | None = None
        self.due = -math.inf

    def __repr__(self) -> str:
        return f"<Pulse {self.condition}, {self._failures} failures>"

    def changed(self) -> None:
        """There is news to write. While Redis is away, news don't hurry."""
        self._changed = True
        self._hurry()

    def began(self, now: float) -> None:
        """A write begins: what is news from now on isn't in it."""
        self._changed, self._began = False, now

    def written(self, now: float) -> Note | None:
        """The record is written."""
        before, self.condition = self.condition, Condition.REGISTERED
        away_s, self._well_at, self._failures = now - self._well_at, now, 0
        self.due = now + self._tempo.interval_s * (0.8 + 0.2 * self._random())
        self._hurry()
        if before is Condition.REGISTERED:
            return None
        return Note("info", "registered", {"away_s": round(away_s, 1)} if math.isfinite(away_s) else {})

    def failed(self, condition: Condition, text: str, now: float) -> Note | None:
        """The record could not be written."""
        wait_s = min(self._tempo.most_backoff_s, self._tempo.backoff_s * 2.0 ** min(self._failures, 30))
        self._failures += 1
        self.due = now + min(wait_s, self._tempo.interval_s) * (0.5 + 0.5 * self._random())
        return self._turned(condition, Note("warning", "not registered", {"condition": condition, "error": text}))

    def held(self, held: Held, now: float) -> Note | None:
        """Another worker has the name, and keeps it."""
        self._failures = 0
        self.due = now + self._tempo.interval_s * (0.8 + 0.2 * self._random())
        return self._turned(Condition.HELD, Note("error", "not registered", {"error": describe_holder(held)}))

    def _turned(self, condition: Condition, note: Note) -> Note | None:
        before, self.condition = self.condition, condition
        return None if before is condition else note

    def _hurry(self) -> None:
        if self._changed and self.condition is Condition.REGISTERED:
            self.due = min(self.due, self._began + self._tempo.gap_s)


def may_replace(held: Held, own: WorkerRecord, instance: str, *, new: bool, takeover: bool) -> bool:
    """Whether a worker may write over what is under its name: what is its own, or out of date.

    Args:
        held: What is there.
        own: The worker's record.
        instance: The worker's process.
        new: Whether the worker has not been registered yet. Then it may replace one of its own address: since the
            worker listens there, that one must be its predecessor, killed before it could sign off.
        takeover: Whether a new worker may replace any other.
    """
    if held.record is None:
        return new and takeover
    if held.record.instance == instance or held.record.is_stale(held.now):
        return True
    return new and (takeover or held.record.addr == own.addr)


def describe_holder(held: Held) -> str:
    """Say who has a name."""
    if held.record is None:
        return f"the name is taken by what is no worker's record: {held.fault}"
    record = held.record
    return (
        f"the name {record.name} is held by another worker, at {record.addr}, whose last heartbeat was "
        f"{record.age_s(held.now):.0f} s ago"
    )
