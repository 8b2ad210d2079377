"""The HTTP port for machines that watch the worker: hypercorn's connections on trio, within bounds.

`hypercorn.trio.serve` shields its writes from cancellation and sets them no deadline, so a client that doesn't read
would keep the worker from stopping; and it takes any number of connections. So what hypercorn does with a connection
(`TCPServer`) is kept; who listens, how many connections there are and how long each may last is decided here.
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

MOST_CONNECTIONS = 64
"""Connections at once; one more closes the oldest, so that those who only hold theirs keep nobody out."""

REQUEST_S = 5.0
"""How long a request may take to come."""

CONNECTION_S = 10.0
"""How long a connection may last."""

WRITE_S = 2.0
"""How long a client may take to read a piece of an answer."""

GRACE_S = 1.0
"""How long answers under way may take once the port is to close."""


async def open_port(host: str, port: int) -> list[trio.SocketListener]:
    """Open the sockets that listen.

    Args:
        host: Name or address to listen on.
        port: TCP port; 0 takes a free one.

    Raises:
        UnavailableError: The address can't be listened on.
    """
    try:
        return await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        raise UnavailableError(
            f"cannot listen on {join_address(host, port)}: {error} (metrics.http_host, metrics.http_port)"
        ) from error


def url_of(listener: trio.SocketListener) -> str:
    """Where a socket listens, as a client would name it."""
    host, port = listener.socket.getsockname()[:2]
    return f"http://{join_address(host, port)}"


async def serve_http(app: ASGIFramework, listeners: Sequence[trio.SocketListener]) -> None:
    """Serve an app until cancelled; answers under way get `GRACE_S` more. The listeners are closed in the end."""
    await _Server(app).run(listeners)


class _Server:
    """The connections that there are."""

    def __init__(self, app: ASGIFramework) -> None:
        self._app = ASGIWrapper(app)
        self._config = _hypercorn_config()
        self._context = WorkerContext(None)
        self._closing = trio.Event()
        self._open: dict[trio.SocketStream, None] = {}

    async def run(self, listeners: Sequence[trio.SocketListener]) -> None:
        async with trio.open_nursery() as port:
            try:
                connections: trio.Nursery = await port.start(self._hold)
                await trio.serve_listeners(self._serve, list(listeners), handler_nursery=connections)
            finally:
                self._closing.set()

    async def _hold(self, *, task_status: trio.TaskStatus[trio.Nursery] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the connections; a cancel of the port is no more to them than a deadline."""
        async with trio.open_nursery() as connections:
            connections.cancel_scope.shield = True
            task_status.started(connections)
            await self._closing.wait()
            connections.cancel_scope.deadline = trio.current_time() + GRACE_S
            await self._context.terminated.set()  # those who wait for a request need no grace

    async def _serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection; its faults stay its own."""
        if len(self._open) >= MOST_CONNECTIONS:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.socket.close()
        self._open[stream] = None
        try:
            with trio.move_on_after(CONNECTION_S):
                state = ConnectionState({})
                await TCPServer(self._app, self._config, self._context, state, _Bounded(stream))  # type: ignore[arg-type]
        except* Exception as errors:
            log.warning("an HTTP connection failed", error=repr(errors.exceptions[0]))
        finally:
            self._open.pop(stream, None)


class _Bounded(trio.abc.HalfCloseableStream):
    """A socket whose peer must read in time."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self.socket = stream.socket

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with trio.move_on_after(WRITE_S) as patience:
            await self._stream.send_all(data)
        if patience.cancelled_caught:
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
