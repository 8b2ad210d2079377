"""Exception groups, which nurseries raise: their leaf exceptions, and raising a sole cause without its group."""

from collections.abc import Generator
from contextlib import contextmanager

import trio

from ttsw.errors import TtswError


@contextmanager
def unwrapped() -> Generator[None, None, None]:
    """Raise the sole cause of an exception group instead of the group; let everything else through.

    >>> from ttsw.errors import UnavailableError
    >>> with unwrapped():
    ...     raise ExceptionGroup("tasks", [UnavailableError("the server has ended")])
    Traceback (most recent call last):
    ttsw.errors.UnavailableError: the server has ended
    """
    try:
        yield
    except BaseExceptionGroup as group:
        cause = sole_cause(group)
        if cause is None:
            raise
        raise cause from group


def sole_cause(error: BaseException) -> BaseException | None:
    """Return the one exception behind an error: its only leaf, or the first of several that are all `TtswError`s.

    Returns:
        None where exceptions of several kinds occurred. Cancellations don't count.
    """
    causes = [leaf for leaf in leaves(error) if not isinstance(leaf, trio.Cancelled)]
    if len(causes) == 1 or (causes and all(isinstance(cause, TtswError) for cause in causes)):
        return causes[0]
    return None


def leaves(error: BaseException) -> Generator[BaseException, None, None]:
    """Yield the exceptions inside nested groups; an exception outside any group is its own leaf."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error
