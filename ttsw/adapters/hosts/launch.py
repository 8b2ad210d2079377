"""An engine's process as the system sees it: how it is started, that it dies with this one, how it is ended."""

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
"""How long an engine that is told to end, or to drop a voice, may take, s."""
DIE_S = 10.0
"""How long the system may take to end a process that is killed, s."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How an engine's process is started, and what is expected of it.

    Args:
        adapter: The adapter, `module:Class`.
        python: Its interpreter.
        packages: Top-level packages that the interpreter needs of this one's, beside `ttsw`: folders by name.
        environ: What its environment has beside this one's.
        load_s: How long it may load, s.
        answer_s: How long it may leave a question unanswered once it is loaded, s.
        step_s: How long one step may take, s.
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
    """A process, started.

    Args:
        process: The process; its stderr is a pipe.
        sock: The socket that it reads orders from.
        stderr: What it prints.
        lifeline: A pipe's end, nothing but a file descriptor: when it is closed, the kernel kills the process.
    """

    process: trio.Process
    sock: socket.socket
    stderr: trio.abc.ReceiveStream
    lifeline: int

    async def bury(self, patience_s: float = 0.0) -> None:
        """See the process end: wait for a while, then kill it and all that it has started."""
        with trio.move_on_after(patience_s):
            await self.process.wait()
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            with trio.move_on_after(DIE_S):
                await self.process.wait()

    async def close(self) -> None:
        """Let go of what connects it to this process."""
        os.close(self.lifeline)
        self.sock.close()
        await self.stderr.aclose()


async def start(launch: Launch) -> EngineProcess:
    """Start an engine's process.

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
                start_new_session=True,  # a Ctrl-C is for the worker, which lets speech end first
                env={**os.environ, **launch.environ},
            )
        except OSError as error:
            raise UnavailableError(f"the interpreter {launch.python} can't be run: {error.strerror}") from error
        ours.pop_all()  # theirs no longer: they belong to the child
    assert process.stderr is not None, "it was asked for"
    return EngineProcess(process, sock, process.stderr, lifeline)


def ending(returncode: int | None, tail: Iterable[str]) -> str:
    """Say how a process ended, and the last that it said.

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
