"""The engines' processes, and who owns them."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from ttsw.adapters.base import EngineSettings
from ttsw.adapters.host.launch import Launch
from ttsw.adapters.host.process import ProcessHost
from ttsw.types import VoicePack


class Engines:
    """Owner of all engines' processes."""

    def __init__(self) -> None:
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own them until cancelled; then none is left."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    async def open(self, pack: VoicePack, settings: EngineSettings, launch: Launch) -> ProcessHost:
        """Start a process, and load a model there. Cancelled, it leaves none behind.

        Raises:
            OutOfMemoryError: There was no memory left for it.
            TtswError: It can't be loaded; the text says why.
        """
        assert self._nursery is not None, "nobody owns the processes: `run` isn't running"
        host = ProcessHost(pack, settings, launch)
        await self._nursery.start(host.run, name=f"engine of {pack.model_id}")
        return host


@asynccontextmanager
async def open_engines() -> AsyncGenerator[Engines, None]:
    """Own engines' processes for a block."""
    engines, failure = Engines(), None
    async with trio.open_nursery() as nursery:
        await nursery.start(engines.run)
        try:
            yield engines
        except Exception as error:  # raised outside of the nursery, which would wrap it in a group
            failure = error
        nursery.cancel_scope.cancel(reason="the block has ended")
    if failure is not None:
        raise failure
