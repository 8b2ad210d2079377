"""Fixtures: a raw client and a server connection on a pair of memory streams."""

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from tests.unit.grpc_trio.support import Service, Wire, make_connection
from ttsw.grpc_trio import Settings
from ttsw.grpc_trio.server import ServerConnection

Connect = Callable[..., Awaitable[tuple[Wire, ServerConnection]]]


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
async def connect(service: Service, nursery: trio.Nursery) -> Connect:
    """Return a function that starts a connection: `wire, connection = await connect(settings, lockstep=False)`."""

    async def start(
        settings: Settings | None = None, *, lockstep: bool = False, **wire: int
    ) -> tuple[Wire, ServerConnection]:
        pair = trio.testing.lockstep_stream_pair() if lockstep else trio.testing.memory_stream_pair()
        connection = make_connection(service, pair[1], settings)
        nursery.start_soon(connection.run)
        client = Wire(pair[0], **wire)
        await client.start()
        return client, connection

    return start
