"""Starting and ending an engine process, and tying its life to this one."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import trio

from ttsw.adapters.envs.bootstrap import command
from ttsw.errors import UnavailableError

LEAVE_S = 5.0
"""Longest time for an engine to exit, or to unload a voice, when told to, seconds."""
DIE_S = 10.0
"""Longest time for the system to end a killed process, seconds."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start an engine process, and its timeouts.

    Args:
        adapter: The adapter, `module:Class`.
        python: Its interpreter.
        packages: Top-level packages of this interpreter that the other needs, besides `ttsw`: folders by name.
        environ: Additional environment variables.
        load_s: Longest load, seconds.
        answer_s: Longest time without a response once loaded, seconds.
        step_s: Longest step, seconds.
    """

    adapter: str
    python: Path = Path(sys.executable)
    packages: Mapping[str, Path] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    load_s: float = 600.0
    answer_s: float = 10.0
    step_s: float = 60.0


@dataclass(frozen=True)
class EngineProcess:
    """A started process.

    Args:
        process: The process; its stderr is a pipe.
        sock: The socket for orders and answers.
        stderr: Its output.
        lifeline: File descriptor of a pipe; closing it makes the kernel kill the process.
    """

    process: trio.Process
    sock: socket.socket
    stderr: trio.abc.ReceiveStream
    lifeline: int

    async def bury(self, patience_s: float = 0.0) -> None:
        """Wait for the process to end for a while, then kill it and all its children."""
        with trio.move_on_after(patience_s):
            await self.process.wait()
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            with trio.move_on_after(DIE_S):
                await self.process.wait()

    async def close(self) -> None:
        """Close the connections to the process."""
        os.close(self.lifeline)
        self.sock.close()
        await self.stderr.aclose()


async def start(launch: Launch) -> EngineProcess:
    """Start an engine process.

    Raises:
        UnavailableError: Its interpreter can't be run.
    """
    with ExitStack() as ours, ExitStack() as theirs:
        sock, their_sock = socket.socketpair()
        ours.enter_context(sock)
        theirs.enter_context(their_sock)
        their_end, lifeline = os.pipe()
        ours.callback(os.close, lifeline)
        theirs.callback(os.close, their_end)
        fds = (their_sock.fileno(), their_end)
        try:
            process = await trio.lowlevel.open_process(
                command(launch.python, "ttsw.adapters.hosts.child", *map(str, fds), packages=launch.packages),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=fds,
                start_new_session=True,  # Ctrl-C goes to the worker only, which lets speech finish first
                env={**os.environ, **launch.environ},
            )
        except OSError as error:
            raise UnavailableError(f"the interpreter {launch.python} can't be run: {error.strerror}") from error
        ours.pop_all()  # they belong to the child from here on
    assert process.stderr is not None, "it was asked for"
    return EngineProcess(process, sock, process.stderr, lifeline)


def ending(returncode: int | None, tail: Iterable[str]) -> str:
    """Describe how a process ended, with its last line of output.

    >>> ending(-9, [])
    'was killed by SIGKILL, as the system does when memory runs out'
    >>> ending(1, ["Traceback …", "ImportError: no torch"])
    'ended with exit code 1: ImportError: no torch'
    """
    last = "".join(f": {line}" for line in list(tail)[-1:])
    if returncode is None:
        return "does not end, though it was killed"
    if returncode >= 0:
        return f"ended with exit code {returncode}{last}"
    name = signal.Signals(-returncode).name
    return f"was killed by {name}" + (", as the system does when memory runs out" if name == "SIGKILL" else last)
