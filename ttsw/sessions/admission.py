"""Admission: whether a session may start, decided on counts alone, with the reason and a retry time.

Each model has a session limit, and each of its sessions takes that share of the worker: a twelfth, if the limit is
twelve. Sessions on several models fit while their shares sum to at most one. If all models have the same limit, that is
a plain count.
"""

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from ttsw.errors import ResourceExhaustedError, UnavailableError

KEPT = 64
"""Number of past sessions whose durations predict the next end."""
SOONEST_S = 0.5
"""Shortest retry time, seconds."""
UNKNOWN_S = 5.0
"""Retry time when nothing predicts the next end, seconds."""


def admit(
    model_id: str,
    active: Mapping[str, int],
    limit_of: Callable[[str], int],
    *,
    mixed: float = math.inf,
    draining: bool = False,
    retry_s: Callable[[], float] = lambda: UNKNOWN_S,
) -> None:
    """Return if one more session may start.

    Args:
        model_id: Its model.
        active: Current sessions by model.
        limit_of: Returns a model's session limit when no other model is in use.
        mixed: Session limit while several models are in use.
        draining: Whether the worker is draining.
        retry_s: Returns the predicted time until a session ends, seconds; called only for a refusal.

    Raises:
        UnavailableError: The worker is draining.
        ResourceExhaustedError: The limit is reached; the message says which, and when to retry.
    """
    refuse_while(draining=draining)
    limit = limit_of(model_id)
    taken = sum(count / limit_of(other) for other, count in active.items() if count)
    others = {other: count for other, count in active.items() if count and other != model_id}
    full = bool(others) and sum(active.values()) >= mixed
    if not full and active.get(model_id, 0) < limit and taken + 1 / limit <= 1 + 1e-9:
        return
    if others:
        held = ", ".join(f"{count} on {other}" for other, count in sorted({**active, **others}.items()) if count)
        why = f"the worker is full: {held}; alone, {model_id} would have {limit}"
        why += f", and several models {mixed:g} together" * full
    else:
        why = f"all {limit} sessions of {model_id} are taken"
    raise ResourceExhaustedError(
        f"{why} (worker.capabilities.max_concurrent_sessions, model_manager.max_sessions, or the profile); try again "
        f"in about {retry_s():.1f} s, or use another worker"
    )


def refuse_while(*, draining: bool) -> None:
    """Return if the worker accepts new work.

    Raises:
        UnavailableError: The worker is draining.
    """
    if draining:
        raise UnavailableError("this worker is draining and takes no new work; use another worker")


class Turnover:
    """Durations of recent sessions, which predict when the next one ends."""

    def __init__(self) -> None:
        self._durations: deque[float] = deque(maxlen=KEPT)

    def ended(self, duration_s: float) -> None:
        """Record the duration of an ended session."""
        self._durations.append(duration_s)

    def next_end_s(self, sessions: Iterable[tuple[float, float]]) -> float:
        """Predict when the next of these sessions ends, seconds from now.

        A session is expected to last as long as the recent ones that lasted longer than it has; one older than all of
        them, until it expires.

        Args:
            sessions: Age, and time until it expires if unused, of each session, seconds.

        >>> turnover = Turnover()
        >>> for duration_s in (20.0, 30.0, 90.0):
        ...     turnover.ended(duration_s)
        >>> turnover.next_end_s([(10.0, 300.0), (22.0, 300.0)]), turnover.next_end_s([(100.0, 12.0)])
        (20.0, 12.0)
        """
        durations = sorted(self._durations)
        soonest = min((_left_s(durations, age_s, expires_s) for age_s, expires_s in sessions), default=math.inf)
        return UNKNOWN_S if math.isinf(soonest) else max(SOONEST_S, soonest)


def _left_s(durations: list[float], age_s: float, expires_s: float) -> float:
    longer = durations[bisect_right(durations, age_s) :]
    return min(longer[len(longer) // 2] - age_s, expires_s) if longer else expires_s
