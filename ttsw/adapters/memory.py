"""Recognising a lack of memory, or another fault of the machine, in the errors of engine libraries."""

from collections.abc import Iterator
from contextlib import contextmanager

from ttsw.errors import OutOfMemoryError
from ttsw.system.machine import explain_fault


def is_out_of_memory(error: Exception) -> bool:
    """Whether an engine's error says that a device has no memory left; each library has its own words for it.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"))
    (True, True)
    """
    words = ("out of memory", "bad_alloc", "bad allocation", "failed to allocate memory")  # torch, C++, ONNX Runtime
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(word in str(error).lower() for word in words)
    )


def raise_machine_fault(error: Exception, what: str) -> None:
    """Raise what a library's error says of the machine; return if it says nothing of that, so that a file is at fault.

    Args:
        error: The library's error; one that says that memory is lacking is raised as it is.
        what: What failed: "/voices/joe.onnx cannot be opened".

    Raises:
        UnavailableError: The machine lacks something.
    """
    if is_out_of_memory(error):
        raise error
    if fault := explain_fault(what, error):
        raise fault from error


@contextmanager
def telling_memory(purpose: str) -> Iterator[None]:
    """Raise a lack of memory as what it is; let all else through.

    Raises:
        OutOfMemoryError: There was none left.
    """
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemoryError(f"no memory is left {purpose}: {error}") from error
        raise
