"""One error of ours out of the groups that nurseries make of them."""

from collections.abc import Generator
from contextlib import contextmanager

from ttsw.errors import TtswError


@contextmanager
def one_fault() -> Generator[None, None, None]:
    """Raise the first of a group of errors that are all ours, alone.

    >>> from ttsw.errors import UnavailableError
    >>> with one_fault():
    ...     raise ExceptionGroup("tasks", [UnavailableError("the server has ended")])
    Traceback (most recent call last):
    ttsw.errors.UnavailableError: the server has ended
    """
    try:
        yield
    except BaseExceptionGroup as group:
        fault = only_ours(group)
        if fault is None:
            raise
        raise fault from group


def only_ours(group: BaseExceptionGroup[BaseException]) -> TtswError | None:
    """The first error inside a group; None where one of them isn't ours."""
    ours, others = group.split(TtswError)
    if others is not None or ours is None:
        return None
    first: BaseException = ours
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first if isinstance(first, TtswError) else None
