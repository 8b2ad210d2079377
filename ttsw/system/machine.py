"""Faults of the machine, told apart from those of a file: no room, no memory, no permission, too many open files.

Libraries put what the system has told them into errors of their own. So a fault is known by its number where there is
one, and by the system's words otherwise.
"""

import errno
import os
import re

from ttsw.errors import OutOfMemoryError, TtswError, UnavailableError

_HINTS = {
    errno.EACCES: "let the user that this runs as read it",
    errno.EPERM: "let the user that this runs as read it",
    errno.ENFILE: "raise the system's limit of open files (fs.file-max)",
    errno.EMFILE: "raise this process's limit of open files (ulimit -n)",
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "make room within the user's quota on that disk",
    errno.EROFS: "that disk can only be read",
    errno.EIO: "see the system's log for that disk",
    errno.ENOMEM: "",
}
"""The faults that are the machine's wherever they come from, each with what to do.

ENFILE stands before EMFILE, since its words begin with those.
"""

_PASSING = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO}


def find_fault(error: BaseException) -> int | None:
    """Give the number of the machine's fault that an error tells of; None where it tells of none.

    >>> find_fault(RuntimeError("open file fail: Too many open files")) == errno.EMFILE
    True
    >>> find_fault(ValueError("it is cut short")) is None
    True
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if isinstance(error.__cause__, OSError):
        return find_fault(error.__cause__)
    said = str(error)
    for number in _HINTS:
        if os.strerror(number) in said or re.search(rf"\b(os error|errno|errcode)[ :]*{number}\b", said):
            return number
    return None


def may_pass(error: BaseException) -> bool:
    """Whether an error tells of a lack that may be over the next time, though no file has changed."""
    return find_fault(error) in _PASSING


def explain_fault(what: str, error: BaseException) -> TtswError | None:
    """Make an error of the machine's fault that another tells of; None where it tells of none.

    Args:
        what: What failed: "/voices/joe.onnx cannot be read".
        error: The other.
    """
    number = find_fault(error)
    if number is None:
        return None
    said = getattr(error, "strerror", None) or os.strerror(number)
    hint = _HINTS.get(number, "")
    kind = OutOfMemoryError if number == errno.ENOMEM else UnavailableError
    return kind(f"{what}: {said}" + (f"; {hint}" if hint else ""))


def cannot_read(path: os.PathLike[str] | str, error: OSError) -> TtswError:
    """Make the error of a file that the system doesn't let us read."""
    what = f"{os.fspath(path)} cannot be read"
    return explain_fault(what, error) or UnavailableError(f"{what}: {error}")
