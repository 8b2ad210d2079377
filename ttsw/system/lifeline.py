"""A process that ends with the one that started it, however that one ends.

The starter keeps one end of a pipe; when it ends, the kernel closes that end, and kills whoever holds the other one.
`python -m ttsw.system.lifeline FD COMMAND…` ties any command to the pipe `FD` and becomes it.
"""

import fcntl
import os
import select
import signal
import sys
from collections.abc import Sequence


def die_with(lifeline: int) -> None:
    """Have the kernel kill this process when the other end of a pipe is closed.

    That needs nothing of this interpreter, which may be stuck; and unlike PR_SET_PDEATHSIG it doesn't ask which of the
    starter's threads has started us. It outlasts an exec. Elsewhere than on Linux, nothing happens.
    """
    if sys.platform != "linux":
        return
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    poll = select.poll()
    poll.register(lifeline, 0)
    if poll.poll(0):  # it was closed before
        os._exit(1)


def tied(lifeline: int, command: Sequence[str]) -> list[str]:
    """Give the command line that runs a command which dies with a pipe, one that is passed on to it."""
    return [sys.executable, "-m", "ttsw.system.lifeline", str(lifeline), *command]


if __name__ == "__main__":
    die_with(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
