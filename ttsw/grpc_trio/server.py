"""gRPC server: accept connections, run each in its own task, and drain them.

`connection` implements a connection, `request` a call.
"""

import logging
import ssl
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import trio
from grpclib.events import _DispatchServerEvents

from ttsw.grpc_trio.call import Http2Call
from ttsw.grpc_trio.connection import Connection, TeardownLimiter
from ttsw.grpc_trio.request import Headers, Router
from ttsw.grpc_trio.settings import Settings
from ttsw.grpc_trio.stream import Peer

if TYPE_CHECKING:
    from grpclib._typing import IServable
    from grpclib.const import Handler

logger = logging.getLogger(__name__)


class ServerConnection(Connection):
    """The server side of a connection: starts a task for each request."""

    def __init__(
        self, transport: trio.abc.Stream, settings: Settings, router: Router, teardown: TeardownLimiter | None = None
    ) -> None:
        self._peer = Peer(transport)
        self._router = router
        address = self._peer.addr()
        name = f"{address[0]}:{address[1]}" if address else "?"
        super().__init__(transport, settings, client=False, name=name, teardown=teardown)

    def on_open(self, stream_id: int, headers: Headers) -> None:
        """Start the call's task."""
        call = Http2Call(self, stream_id)
        self.register(call)
        self._call_nursery.start_soon(self._router.run, call, headers, self._peer)


class Server:
    """A running server, as `serve` passes it to `started`.

    Supports `grpclib.events.listen(server, ...)`.
    """

    def __init__(self, services: Collection["IServable"], settings: Settings) -> None:
        mapping: dict[str, Handler] = {}
        for service in services:
            mapping.update(service.__mapping__())
        self.__dispatch__ = _DispatchServerEvents()
        self.addresses: list[tuple[str, int]] = []
        self.connections: set[ServerConnection] = set()
        self.draining = False
        self._settings = settings
        self._router = Router(mapping, self.__dispatch__, settings.max_header_list_bytes)
        self._teardown = TeardownLimiter()
        self._intake = trio.CancelScope()
        self._accepted = 0  # open connections, including those in their TLS handshake

    def __repr__(self) -> str:
        state = "draining" if self.draining else "serving"
        return f"<Server {state} on {self.addresses}, {len(self.connections)} connections, {self.calls} calls>"

    @property
    def calls(self) -> int:
        """Number of calls in progress."""
        return sum(len(connection.calls) for connection in self.connections)

    def drain(self) -> None:
        """Stop listening and send GOAWAY on every connection; `serve` returns after the last call.

        To limit the drain's duration, cancel `serve`.
        """
        self.draining = True
        self._intake.cancel(reason="drain")
        for connection in self.connections:
            connection.drain()

    async def _listen(
        self, listeners: Sequence[trio.SocketListener], ssl_context: ssl.SSLContext | None, connections: trio.Nursery
    ) -> None:
        async def accept(transport: trio.SocketStream) -> None:
            await self._accept(transport, ssl_context)

        with self._intake:
            await trio.serve_listeners(accept, list(listeners), handler_nursery=connections)

    async def _accept(self, transport: trio.SocketStream, ssl_context: ssl.SSLContext | None) -> None:
        """Serve one connection and log its errors, without affecting other connections."""
        if self._accepted >= self._settings.max_connections:
            logger.info("connection refused: too many connections: %r", self)
            await trio.aclose_forcefully(transport)
            return
        self._accepted += 1
        try:
            stream = transport if ssl_context is None else await self._handshake(transport, ssl_context)
            if stream is not None:
                await self._serve(ServerConnection(stream, self._settings, self._router, self._teardown))
        except* Exception:
            logger.exception("connection failed")
        finally:
            self._accepted -= 1

    async def _serve(self, connection: ServerConnection) -> None:
        self.connections.add(connection)
        try:
            if self.draining:
                connection.drain()
            await connection.run()
        finally:
            self.connections.discard(connection)

    async def _handshake(
        self, transport: trio.SocketStream, ssl_context: ssl.SSLContext
    ) -> trio.SSLStream[trio.SocketStream] | None:
        stream = trio.SSLStream(transport, ssl_context, server_side=True, https_compatible=True)
        try:
            with trio.fail_after(self._settings.preface_s):
                await stream.do_handshake()
            if stream.selected_alpn_protocol() == "h2":
                return stream
            logger.debug("TLS client without ALPN protocol h2 rejected")
        except (trio.BrokenResourceError, trio.TooSlowError) as error:
            logger.debug("TLS handshake failed: %r", error)
        await trio.aclose_forcefully(transport)
        return None


async def serve(
    services: Collection["IServable"],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    listeners: Sequence[trio.SocketListener] | None = None,
    ssl_context: ssl.SSLContext | None = None,
    settings: Settings | None = None,
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve gRPC until cancelled, or until the `Server` passed to `started` is drained.

    Args:
        services: grpclib services, for example instances of betterproto2's generated base classes.
        host: Address to listen on; ignored with `listeners`.
        port: TCP port; 0 for any free port, then listed in `Server.addresses`.
        listeners: Listening sockets, which are closed at the end.
        ssl_context: Server context for TLS, whose ALPN protocols are set to h2; None for plain TCP.
        settings: Limits; None for the defaults.
        task_status: Receives the `Server`.

    Raises:
        OSError: The address can't be bound.
    """
    if ssl_context is not None:
        ssl_context.set_alpn_protocols(["h2"])
    if listeners is None:
        listeners = await trio.open_tcp_listeners(port, host=host)
    server = Server(services, settings or Settings())
    server.addresses = [listener.socket.getsockname()[:2] for listener in listeners]
    async with trio.open_nursery() as connections:
        connections.start_soon(server._listen, listeners, ssl_context, connections)
        task_status.started(server)
