"""HTTP server for monitoring: hypercorn's connection handling on trio, with limits.

`hypercorn.trio.serve` shields its writes from cancellation without a deadline, so a client that doesn't read would
block the shutdown. It also accepts any number of connections. This module therefore uses only hypercorn's `TCPServer`
for each connection, and manages listeners, connection limits and timeouts.
"""

import logging
from collections.abc import Sequence

import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState

from ttsw.errors import UnavailableError
from ttsw.system.addresses import join_address

log = structlog.get_logger(__name__)

MAX_CONNECTIONS = 64
"""Concurrent connections; a further one closes the oldest, so idle connections can't block the port."""

REQUEST_S = 5.0
"""Timeout of receiving a request, seconds."""

CONNECTION_S = 10.0
"""Maximum lifetime of a connection, seconds."""

WRITE_S = 2.0
"""Timeout of each write of a response, seconds."""

GRACE_S = 1.0
"""Time limit for responses in progress at shutdown, seconds."""


async def open_port(host: str, port: int) -> list[trio.SocketListener]:
    """Open the listening sockets.

    Args:
        host: Host name or address to listen on.
        port: TCP port; 0 for any free port.

    Raises:
        UnavailableError: The address can't be bound.
    """
    try:
        return await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        raise UnavailableError(
            f"cannot listen on {join_address(host, port)}: {error} (metrics.http_host, metrics.http_port)"
        ) from error


def url_of(listener: trio.SocketListener) -> str:
    """Return the URL of a listening socket."""
    host, port = listener.socket.getsockname()[:2]
    return f"http://{join_address(host, port)}"


async def serve_http(app: ASGIFramework, listeners: Sequence[trio.SocketListener]) -> None:
    """Serve an app until cancelled, then finish responses within `GRACE_S` and close the listeners."""
    await _Server(app).run(listeners)


class _Server:
    """Accepts connections and limits their number and lifetime."""

    def __init__(self, app: ASGIFramework) -> None:
        self._app = ASGIWrapper(app)
        self._config = _hypercorn_config()
        self._context = WorkerContext(None)
        self._closing = trio.Event()
        self._open: dict[trio.SocketStream, None] = {}

    async def run(self, listeners: Sequence[trio.SocketListener]) -> None:
        async with trio.open_nursery() as nursery:
            try:
                connections: trio.Nursery = await nursery.start(self._run_connections)
                await trio.serve_listeners(self._serve, list(listeners), handler_nursery=connections)
            finally:
                self._closing.set()

    async def _run_connections(self, *, task_status: trio.TaskStatus[trio.Nursery] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the connections' nursery. It is shielded: cancelling the server only sets its deadline."""
        async with trio.open_nursery() as connections:
            connections.cancel_scope.shield = True
            task_status.started(connections)
            await self._closing.wait()
            connections.cancel_scope.deadline = trio.current_time() + GRACE_S
            await self._context.terminated.set()  # closes connections without a request immediately

    async def _serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection and log its errors, without affecting other connections."""
        if len(self._open) >= MAX_CONNECTIONS:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.socket.close()
        self._open[stream] = None
        try:
            with trio.move_on_after(CONNECTION_S):
                state = ConnectionState({})
                bounded = _WriteTimeoutStream(stream)
                await TCPServer(self._app, self._config, self._context, state, bounded)  # type: ignore[arg-type]
        except* Exception as errors:
            log.warning("HTTP connection failed", error=repr(errors.exceptions[0]))
        finally:
            self._open.pop(stream, None)


class _WriteTimeoutStream(trio.abc.HalfCloseableStream):
    """A socket stream whose writes time out after `WRITE_S`."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self.socket = stream.socket

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with trio.move_on_after(WRITE_S) as scope:
            await self._stream.send_all(data)
        if scope.cancelled_caught:
            await trio.aclose_forcefully(self._stream)
            raise trio.BrokenResourceError(f"the client did not read within {WRITE_S:g} s")

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self._stream.receive_some(max_bytes)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


def _hypercorn_config() -> HypercornConfig:
    config = HypercornConfig()
    config.accesslog = None
    config.errorlog = logging.getLogger(__name__)
    config.include_server_header = False
    config.h11_max_incomplete_size = 8_192
    config.keep_alive_timeout = REQUEST_S
    return config
