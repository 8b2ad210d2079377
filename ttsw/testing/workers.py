"""A real worker, in this process and for the length of a block: its models, its sessions, its gRPC port."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from ttsw.app import Services, listen
from ttsw.config import Config
from ttsw.device import find_devices
from ttsw.models.device_monitor import search_devices
from ttsw.worker import Worker


@asynccontextmanager
async def open_worker(config: Config) -> AsyncGenerator[tuple[Worker, tuple[str, int]], None]:
    """Run a worker; gives it, and the host and port of its gRPC listener.

    Use `worker.grpc_port: 0` for a free port. Signals are left alone, so that several may run in one process.

    Raises:
        TtswError: The worker can't start.
    """
    worker = Worker(config, devices=await search_devices(find_devices))
    services = Services(worker)
    async with trio.open_nursery() as models:
        await models.start(worker.run_models)
        async with trio.open_nursery() as sessions:
            await sessions.start(worker.sessions.run)
            async with trio.open_nursery() as intake:
                server = await listen(config.worker, services.all, intake)
                await worker.preload()
                services.board.set_all(True)
                yield worker, server.addresses[0]
                intake.cancel_scope.cancel(reason="the block has ended")
            sessions.cancel_scope.cancel(reason="the block has ended")
        models.cancel_scope.cancel(reason="the block has ended")
