"""Child processes that end with the block that started them, whatever happens in it.

Each has a session of its own, so that Ctrl-C reaches the bench alone, which then ends them in order. Where the bench
itself is killed, the kernel ends them.
"""

import os
import signal
import subprocess
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import trio

from ttsw.errors import UnavailableError
from ttsw.system.lifeline import tied

LINES_KEPT = 200
"""Last lines of what it wrote on stderr, for an error's text."""


class ChildProcess:
    """A child process that speaks in lines.

    Args:
        process: The process.
        name: What to call it in errors.
    """

    def __init__(self, process: trio.Process, name: str) -> None:
        self.process, self._name = process, name
        self.log: deque[str] = deque(maxlen=LINES_KEPT)
        self._pending = b""

    def __repr__(self) -> str:
        return f"<Child {self._name!r} {self.process.pid}, {self.process.returncode}>"

    async def line(self) -> bytes:
        """Wait for its next line on stdout.

        Raises:
            UnavailableError: It has ended.
        """
        assert self.process.stdout is not None
        while b"\n" not in self._pending:
            data = await self.process.stdout.receive_some()
            if not data:
                raise await self.ended()
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    async def tell(self, line: bytes) -> None:
        """Write a line to its stdin.

        Raises:
            UnavailableError: It has ended.
        """
        assert self.process.stdin is not None
        try:
            await self.process.stdin.send_all(line + b"\n")
        except trio.BrokenResourceError:
            raise await self.ended() from None

    async def ended(self) -> UnavailableError:
        """Say how it has ended, with the last that it said."""
        with trio.move_on_after(2):
            await self.process.wait()
        last = "; ".join(list(self.log)[-3:]) or "it said nothing"
        return UnavailableError(f"{self._name} has ended (exit code {self.process.returncode}): {last}")

    async def read_log(self) -> None:
        """Read its stderr to the end."""
        assert self.process.stderr is not None
        pending = b""
        async for data in self.process.stderr:
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                self.log.append(line.decode(errors="replace"))


@asynccontextmanager
async def open_child(
    command: Sequence[str],
    name: str,
    *,
    environ: Mapping[str, str] | None = None,
    patience_s: float = 15.0,
) -> AsyncGenerator[ChildProcess, None]:
    """Run a child process for a block: with the block it gets SIGTERM, and SIGKILL if it doesn't end soon.

    Args:
        command: What to run.
        name: What to call it in errors.
        environ: Its environment; ours if None.
        patience_s: How long it may take to end.
    """
    theirs, lifeline = os.pipe()
    try:
        process = await trio.lowlevel.open_process(
            tied(theirs, command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(theirs,),
            env=dict(os.environ if environ is None else environ),
            start_new_session=True,
        )
    except BaseException:
        os.close(lifeline)
        raise
    finally:
        os.close(theirs)
    child = ChildProcess(process, name)
    failure: Exception | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child.read_log)
            try:
                yield child
            except Exception as error:  # raised below, so that no exception group is made of it
                failure = error
            finally:
                await _end(process, patience_s)  # noqa: ASYNC102 - it shields itself, with a deadline
                nursery.cancel_scope.cancel(reason="the child has ended")
    finally:
        _kill(process)
        os.close(lifeline)
    if failure is not None:
        raise failure


async def _end(process: trio.Process, patience_s: float) -> None:
    with trio.CancelScope(shield=True), trio.move_on_after(patience_s):
        if process.stdin is not None:
            await process.stdin.aclose()
        process.terminate()
        await process.wait()
    if process.returncode is None:
        _kill(process)
        with trio.CancelScope(shield=True):
            await process.wait()


def _kill(process: trio.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
