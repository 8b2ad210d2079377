"""The crowd, a process of its own: see `ttsw.profiler.load_generator`."""

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec
import trio

from ttsw.errors import UnavailableError
from ttsw.profiler.child_process import ChildProcess, open_child
from ttsw.profiler.load_messages import LoadOrder, LoadResult

PATIENCE_S = 60.0
"""How much longer than an order says its answer may take, s."""


class LoadGeneratorProcess:
    """Passes orders on to the crowd's process."""

    def __init__(self, child: ChildProcess) -> None:
        self._child = child

    async def listen(self, order: LoadOrder) -> LoadResult:
        """See `ttsw.profiler.subject.LoadListeners`."""
        with trio.move_on_after(order.settle_s + order.seconds + order.drain_s + PATIENCE_S):
            await self._child.tell(msgspec.json.encode(order))
            return msgspec.json.decode(await self._child.line(), type=LoadResult)
        raise UnavailableError(f"the load generator hasn't answered {PATIENCE_S:g} s after it should have")


@asynccontextmanager
async def open_load_generator(host: str, port: int) -> AsyncGenerator[LoadGeneratorProcess, None]:
    """Start a crowd that listens to a server.

    Raises:
        UnavailableError: It can't reach the server.
    """
    command = [sys.executable, "-m", "ttsw.profiler.load_generator", host, str(port)]
    async with open_child(command, "the load generator") as child:
        await child.line()
        yield LoadGeneratorProcess(child)
