"""Whether a session may start: a decision on counts alone, with the reason in words."""

from ttsw.errors import ResourceExhaustedError, UnavailableError


def admit(*, active: int, limit: int, draining: bool) -> None:
    """Return if one more session may start.

    Args:
        active: Sessions there are now.
        limit: Sessions there may be.
        draining: Whether the worker is about to stop.

    Raises:
        UnavailableError: The worker is draining.
        ResourceExhaustedError: All sessions are taken.
    """
    refuse_while(draining=draining)
    if active >= limit:
        raise ResourceExhaustedError(
            f"all {limit} sessions of this worker are taken (worker.capabilities.max_concurrent_sessions); "
            "end one, wait until one ends, or use another worker"
        )


def refuse_while(*, draining: bool) -> None:
    """Return if the worker takes new work.

    Raises:
        UnavailableError: It is draining.
    """
    if draining:
        raise UnavailableError("this worker is draining and takes no new work; use another worker")
