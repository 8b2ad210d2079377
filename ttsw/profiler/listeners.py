"""The crowd, a process of its own: see `ttsw.profiler.crowd`."""

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec
import trio

from ttsw.errors import UnavailableError
from ttsw.profiler.children import Child, open_child
from ttsw.profiler.samples import Heard, Order

PATIENCE_S = 60.0
"""How much longer than an order says its answer may take, s."""


class CrowdProcess:
    """Passes orders on to the crowd's process."""

    def __init__(self, child: Child) -> None:
        self._child = child

    async def listen(self, order: Order) -> Heard:
        """See `ttsw.profiler.subject.Listeners`."""
        with trio.move_on_after(order.settle_s + order.seconds + order.drain_s + PATIENCE_S):
            await self._child.tell(msgspec.json.encode(order))
            return msgspec.json.decode(await self._child.line(), type=Heard)
        raise UnavailableError(f"the load generator hasn't answered {PATIENCE_S:g} s after it should have")


@asynccontextmanager
async def open_crowd(host: str, port: int) -> AsyncGenerator[CrowdProcess, None]:
    """Start a crowd that listens to a server.

    Raises:
        UnavailableError: It can't reach the server.
    """
    command = [sys.executable, "-m", "ttsw.profiler.crowd", host, str(port)]
    async with open_child(command, "the load generator") as child:
        await child.line()
        yield CrowdProcess(child)
