"""Recognising a lack of memory, or another fault of the machine, in the errors of engine libraries."""

from collections.abc import Iterator
from contextlib import contextmanager

from ttsw.errors import OutOfMemoryError
from ttsw.system.machine import explain_fault


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an engine's error means that a device is out of memory; each library words that differently.

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
    """Raise the fault of the machine that a library's error reports; return if it reports none.

    Args:
        error: The library's error; an out-of-memory error is raised unchanged.
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
    """Raise an out-of-memory error of any library as `OutOfMemoryError`; let other errors through.

    Raises:
        OutOfMemoryError: The device is out of memory.
    """
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemoryError(f"no memory is left {purpose}: {error}") from error
        raise
