"""The owner of all engine processes."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from ttsw.adapters.base import EngineSettings
from ttsw.adapters.hosts.launch import Launch
from ttsw.adapters.hosts.process import ProcessHost
from ttsw.types import VoicePack


class EngineProcesses:
    """Owner of all engine processes."""

    def __init__(self) -> None:
        self._nursery: trio.Nursery | None = None

    @asynccontextmanager
    async def owned(self) -> AsyncGenerator["EngineProcesses", None]:
        """Own the processes for a block and its clean-up; afterwards, none is left.

        A cancellation reaches the block first. So the block can close its engines in order, and only processes that
        nothing has closed are killed.
        """
        failure = None
        async with trio.open_nursery() as nursery:
            over, ready = trio.CancelScope(shield=True), trio.Event()
            nursery.start_soon(self._own, over, ready)  # not `start`: if cancelled, it would wait for the shielded part
            try:
                await ready.wait()
                yield self
            except Exception as error:  # raised after the nursery, which would wrap it in an exception group
                failure = error
            finally:
                over.cancel(reason="the block has ended")
        if failure is not None:
            raise failure

    async def open(self, pack: VoicePack, settings: EngineSettings, launch: Launch) -> ProcessHost:
        """Start a process, and load a model there. If cancelled, no process is left.

        Raises:
            OutOfMemoryError: The device ran out of memory.
            TtswError: The model can't be loaded; the message says why.
        """
        assert self._nursery is not None, "nobody owns the processes: `owned` is not entered"
        host = ProcessHost(pack, settings, launch)
        await self._nursery.start(host.run, name=f"engine of {pack.model_id}")
        return host

    async def _own(self, over: trio.CancelScope, ready: trio.Event) -> None:
        with over:
            async with trio.open_nursery() as self._nursery:
                ready.set()
                await trio.sleep_forever()


@asynccontextmanager
async def open_engine_processes() -> AsyncGenerator[EngineProcesses, None]:
    """Own engine processes for a block; see `EngineProcesses.owned`."""
    async with EngineProcesses().owned() as engines:
        yield engines
