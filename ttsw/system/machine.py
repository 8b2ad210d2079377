"""Faults of the machine, distinguished from those of a file: no space, no memory, no permission, too many open files.

Libraries wrap system errors in their own. So a fault is recognised by its errno if available, otherwise by the system's
message.
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
"""Faults that are always the machine's, with a remedy for each.

ENFILE precedes EMFILE, since its message begins with that of EMFILE.
"""

_PASSING = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO}


def find_fault(error: BaseException) -> int | None:
    """Return the errno of the machine's fault behind an error; None if there is none.

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
    """Return whether an error may be gone at the next attempt, although no file has changed."""
    return find_fault(error) in _PASSING


def explain_fault(what: str, error: BaseException) -> TtswError | None:
    """Return an error that explains the machine's fault behind another; None if there is none.

    Args:
        what: What failed: "/voices/joe.onnx cannot be read".
        error: The other error.
    """
    number = find_fault(error)
    if number is None:
        return None
    said = getattr(error, "strerror", None) or os.strerror(number)
    hint = _HINTS.get(number, "")
    kind = OutOfMemoryError if number == errno.ENOMEM else UnavailableError
    return kind(f"{what}: {said}" + (f"; {hint}" if hint else ""))


def cannot_read(path: os.PathLike[str] | str, error: OSError) -> TtswError:
    """Return the error for a file to which the system denies access."""
    what = f"{os.fspath(path)} cannot be read"
    return explain_fault(what, error) or UnavailableError(f"{what}: {error}")
