"""Whether a session may start: a decision on counts alone, with the reason in words, and when to ask again.

Each model takes so many sessions, and a session on it takes its share of the worker: one of twelve, where that many can
speak at once. Sessions on several models fit while their shares are no more than the whole. Where every model has the
same limit, that is a plain count.
"""

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from ttsw.errors import ResourceExhaustedError, UnavailableError

KEPT = 64
"""Sessions by whose durations the next end is guessed."""
SOONEST_S = 0.5
"""The shortest time after which a client is asked to try again, s."""
UNKNOWN_S = 5.0
"""When to ask again where nothing tells when a session will end, s."""


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
        model_id: The model that it wants.
        active: Sessions there are now, by model.
        limit_of: How many sessions a model takes where it has the worker to itself.
        mixed: How many sessions there may be at once where they are on several models.
        draining: Whether the worker is about to stop.
        retry_s: Tells in how many seconds there may be room again; asked only for a refusal.

    Raises:
        UnavailableError: The worker is draining.
        ResourceExhaustedError: There is no room; the text says why, and when to try again.
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
    """Return if the worker takes new work.

    Raises:
        UnavailableError: It is draining.
    """
    if draining:
        raise UnavailableError("this worker is draining and takes no new work; use another worker")


class Turnover:
    """How long sessions last, and so when the next will end."""

    def __init__(self) -> None:
        self._durations: deque[float] = deque(maxlen=KEPT)

    def ended(self, duration_s: float) -> None:
        """A session has ended that lasted so long."""
        self._durations.append(duration_s)

    def next_end_s(self, sessions: Iterable[tuple[float, float]]) -> float:
        """Guess when the next of these sessions ends, s from now.

        A session is expected to last as long as those of the latest that lasted longer than it has; one older than all
        of them until it expires.

        Args:
            sessions: The age of each, and how long it is still there if nothing happens in it, s.

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
