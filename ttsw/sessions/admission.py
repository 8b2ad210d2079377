"""Whether a session may start: a decision on counts alone, with the reason in words, and when to ask again.

Each model takes so many sessions, and a session on it takes its share of the worker: one of twelve, where that many can
speak at once. Sessions on several models fit while their shares are no more than the whole. Where every model has the
same limit, that is a plain count.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from statistics import median

from ttsw.errors import ResourceExhaustedError, UnavailableError

KEPT = 64
"""Sessions by whose durations the next end is guessed."""
SOONEST_S, LATEST_S = 0.5, 60.0
UNKNOWN_S = 5.0
"""When to ask again where no session has ended yet, s."""


def admit(
    model_id: str,
    active: Mapping[str, int],
    limit_of: Callable[[str], int],
    *,
    mixed: float = math.inf,
    draining: bool = False,
    retry_s: float = UNKNOWN_S,
) -> None:
    """Return if one more session may start.

    Args:
        model_id: The model that it wants.
        active: Sessions there are now, by model.
        limit_of: How many sessions a model takes where it has the worker to itself.
        mixed: How many sessions there may be at once where they are on several models.
        draining: Whether the worker is about to stop.
        retry_s: When there may be room again, s.

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
        f"in about {retry_s:.1f} s, or use another worker"
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

    def next_end_s(self, ages_s: Iterable[float]) -> float:
        """Guess when the next of these sessions ends, s from now.

        >>> turnover = Turnover()
        >>> turnover.ended(30.0)
        >>> turnover.next_end_s([10.0, 22.0]), Turnover().next_end_s([10.0])
        (8.0, 5.0)
        """
        ages = list(ages_s)
        if not self._durations or not ages:
            return UNKNOWN_S
        usual = median(self._durations)
        return min(max(SOONEST_S, usual - max(ages)), LATEST_S)
