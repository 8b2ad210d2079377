"""Tying a process's life to the process that started it, however that one ends.

The starter keeps one end of a pipe; when it ends, the kernel closes that end, and kills the process that holds the
other. `python -m ttsw.system.lifeline FD COMMAND…` ties any command to the pipe `FD` and becomes it.
"""

import fcntl
import os
import select
import signal
import sys
from collections.abc import Sequence


def die_with(lifeline: int) -> None:
    """Have the kernel kill this process when the other end of a pipe is closed.

    That works even if this interpreter hangs; and unlike PR_SET_PDEATHSIG it doesn't depend on which thread of the
    starter started it. It survives an exec. On systems other than Linux it does nothing.
    """
    if sys.platform != "linux":
        return
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    poll = select.poll()
    poll.register(lifeline, 0)
    if poll.poll(0):  # already closed
        os._exit(1)


def tied(lifeline: int, command: Sequence[str]) -> list[str]:
    """Return the command line that runs a command tied to a pipe."""
    return [sys.executable, "-m", "ttsw.system.lifeline", str(lifeline), *command]


if __name__ == "__main__":
    die_with(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
