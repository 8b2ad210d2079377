"""Heartbeat policy: decide when a worker writes its record, whether it may, and which events to log. Pure.

Events are method calls with the time, and return the line to log, if any. Heartbeats have random jitter, so many
workers don't write at the same time. A change is written immediately, and several quick changes in one write. After
failures, the delay backs off with jitter up to a small maximum, to register soon after the registry has recovered.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ttsw.registry.record import WorkerRecord


class Condition(StrEnum):
    """State of a worker's registration."""

    REGISTERED = "registered"
    HELD = "name held by another worker"
    UNREACHABLE = "unreachable"
    SLOW = "slow to respond"
    LOGIN = "rejecting the login"
    FORBIDDEN = "denying permission"
    READ_ONLY = "read-only"
    BUSY = "busy"
    FULL = "out of memory"
    REFUSED = "refusing the operation"
    UNDESCRIBED = "record unavailable"
    """The worker failed to create its record."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The current holder of the worker's name in the registry.

    Args:
        record: Its record; None if it is malformed.
        now: Redis's time, Unix seconds.
        fault: Error message of a malformed record.
    """

    record: WorkerRecord | None
    now: float
    fault: str = ""


@dataclass(frozen=True, slots=True)
class HeartbeatTiming:
    """Intervals between writes, seconds.

    Args:
        interval_s: Maximum interval between heartbeats.
        gap_s: Minimum interval between two writes.
        backoff_s: Delay after a failure, doubled with each further failure.
        max_backoff_s: Maximum delay after a failure.
    """

    interval_s: float
    gap_s: float = 0.1
    backoff_s: float = 0.25
    max_backoff_s: float = 2.0


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line for the log."""

    level: str
    event: str
    fields: Mapping[str, object] = field(default_factory=dict)


class Heartbeat:
    """Computes the time of the next write from the results of earlier writes.

    Args:
        timing: Intervals between writes.
        random: Returns a number from 0 to 1.

    Attributes:
        condition: Current state of the registration; None before the first write.
        due: Time of the next write, seconds.
    """

    def __init__(self, timing: HeartbeatTiming, random: Callable[[], float]) -> None:
        self._timing, self._random = timing, random
        self._changed = False
        self._write_started_at = self._registered_at = -math.inf
        self._failures = 0
        self.condition: Condition | None = None
        self.due = -math.inf

    def __repr__(self) -> str:
        return f"<Heartbeat {self.condition}, {self._failures} failures>"

    def changed(self) -> None:
        """Handle a change of the record; it doesn't shorten the delay after a failure."""
        self._changed = True
        self._schedule_change()

    def write_started(self, now: float) -> None:
        """Handle the start of a write; later changes need another write."""
        self._changed, self._write_started_at = False, now

    def written(self, now: float) -> LogLine | None:
        """Handle a completed write."""
        before, self.condition = self.condition, Condition.REGISTERED
        away_s, self._registered_at, self._failures = now - self._registered_at, now, 0
        self.due = now + self._timing.interval_s * (0.8 + 0.2 * self._random())
        self._schedule_change()
        if before is Condition.REGISTERED:
            return None
        return LogLine("info", "registered", {"away_s": round(away_s, 1)} if math.isfinite(away_s) else {})

    def failed(self, condition: Condition, text: str, now: float) -> LogLine | None:
        """Handle a failed write."""
        wait_s = min(self._timing.max_backoff_s, self._timing.backoff_s * 2.0 ** min(self._failures, 30))
        self._failures += 1
        self.due = now + min(wait_s, self._timing.interval_s) * (0.5 + 0.5 * self._random())
        line = LogLine("warning", "not registered", {"condition": condition, "error": text})
        return self._set_condition(condition, line)

    def name_held(self, holder: Holder, now: float) -> LogLine | None:
        """Handle a write refused because another worker holds the name."""
        self._failures = 0
        self.due = now + self._timing.interval_s * (0.8 + 0.2 * self._random())
        line = LogLine("error", "not registered", {"error": describe_holder(holder)})
        return self._set_condition(Condition.HELD, line)

    def _set_condition(self, condition: Condition, line: LogLine) -> LogLine | None:
        before, self.condition = self.condition, condition
        return None if before is condition else line

    def _schedule_change(self) -> None:
        if self._changed and self.condition is Condition.REGISTERED:
            self.due = min(self.due, self._write_started_at + self._timing.gap_s)


def may_replace(holder: Holder, own: WorkerRecord, instance: str, *, new: bool, takeover: bool) -> bool:
    """Return whether a worker may replace the holder of its name: its own record, or a stale one.

    Args:
        holder: Current holder of the name.
        own: The worker's record.
        instance: Identifier of the worker's process.
        new: Whether the worker has not been registered yet. A new worker may replace a record with its own address:
            since the worker listens there, that record belongs to a killed predecessor.
        takeover: Whether a new worker may replace any other.
    """
    if holder.record is None:
        return new and takeover
    if holder.record.instance == instance or holder.record.is_stale(holder.now):
        return True
    return new and (takeover or holder.record.addr == own.addr)


def describe_holder(holder: Holder) -> str:
    """Return a message that names the holder of a name."""
    if holder.record is None:
        return f"the name is held by a malformed record: {holder.fault}"
    record = holder.record
    return (
        f"the name {record.name} is held by another worker, at {record.addr}, whose last heartbeat was "
        f"{record.age_s(holder.now):.0f} s ago"
    )
