import http.client
import socket
from dataclasses import dataclass, field

import pytest
import trio

from tests.unit.telemetry.support import busy_metrics, snapshot
from ttsw.telemetry.endpoints import Endpoints
from ttsw.telemetry.exposition import Exposition
from ttsw.telemetry.http_server import open_port, serve_http


@dataclass
class Port:
    """A serving HTTP port, with client methods."""

    state: str = "ready"
    address: tuple[str, int] = ("", 0)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    closed: trio.Event = field(default_factory=trio.Event)

    async def ask(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str):
        """Send a request with the standard library's client, in a thread; return the response and its body."""

        def ask():
            connection = http.client.HTTPConnection(*self.address, timeout=10)
            try:
                connection.request(method, path, body, headers)
                response = connection.getresponse()
                return response, response.read()
            finally:
                connection.close()

        return await trio.to_thread.run_sync(ask)

    async def serve(self, app, *, task_status) -> None:
        """Serve until `scope` is cancelled."""
        listeners = await open_port("127.0.0.1", 0)
        self.address = listeners[0].socket.getsockname()
        task_status.started()
        with self.scope:
            await serve_http(app, listeners)
        self.closed.set()

    async def connect(self, receive_buffer: int | None = None) -> trio.SocketStream:
        """Open a raw connection, optionally with a small receive buffer."""
        raw = trio.socket.socket()
        if receive_buffer is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            await raw.connect(self.address)
        except OSError:
            raw.close()
            raise
        return trio.SocketStream(raw)


async def read_all(stream: trio.SocketStream) -> bytes:
    """Read until the other side closes."""
    data = bytearray()
    try:
        async for piece in stream:
            data += piece
    except trio.BrokenResourceError:
        pass  # closed with unread input
    return bytes(data)


@pytest.fixture
async def port(nursery):
    """Return a port that serves the worker's endpoints."""
    port = Port()
    exposition = Exposition(busy_metrics(), snapshot)
    await nursery.start(port.serve, Endpoints(exposition.render, lambda: port.state))
    return port
