"""A small gRPC client: one connection per channel, with statuses other than OK raised as errors.

Maps a response's headers and trailers to a result. The caller sets timeouts with cancel scopes; a cancelled call sends
RST_STREAM to the server. The client neither reconnects nor retries.
"""

import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

import h2.events as h2e
import trio
from grpclib.const import Status
from grpclib.encoding.base import GRPC_CONTENT_TYPE
from grpclib.exceptions import GRPCError, StreamTerminatedError
from grpclib.metadata import _Metadata, _MetadataLike, decode_grpc_message, decode_metadata, encode_metadata
from h2.errors import ErrorCodes

from ttsw.grpc_trio.call import Headers, Http2Call, connection_lost
from ttsw.grpc_trio.connection import Connection, ResetError, code_name
from ttsw.grpc_trio.settings import Settings
from ttsw.grpc_trio.stream import decode


class Message(Protocol):
    """Interface of a message type, which betterproto2's messages implement."""

    def __bytes__(self) -> bytes:
        """Encode the message."""
        ...

    @classmethod
    def parse(cls, data: bytes, /) -> Self:
        """Decode a message."""
        ...


_Request = TypeVar("_Request", bound=Message)
_Reply = TypeVar("_Reply", bound=Message)

_CODE = re.compile(r"0?[0-9]|1[0-6]")
_RESETS = {
    ErrorCodes.CANCEL: Status.CANCELLED,
    ErrorCodes.REFUSED_STREAM: Status.UNAVAILABLE,
    ErrorCodes.ENHANCE_YOUR_CALM: Status.RESOURCE_EXHAUSTED,
    ErrorCodes.INADEQUATE_SECURITY: Status.PERMISSION_DENIED,
}
_HTTP_STATUSES = {
    "400": Status.INTERNAL,
    "401": Status.UNAUTHENTICATED,
    "403": Status.PERMISSION_DENIED,
    "404": Status.UNIMPLEMENTED,
    "429": Status.UNAVAILABLE,
    "502": Status.UNAVAILABLE,
    "503": Status.UNAVAILABLE,
    "504": Status.UNAVAILABLE,
}


class ClientConnection(Connection):
    """The client side of a connection: starts calls and waits for free streams."""

    def __init__(self, transport: trio.abc.Stream, settings: Settings, name: str) -> None:
        super().__init__(transport, settings, client=True, name=name)
        self._slots = trio.lowlevel.ParkingLot()
        self._goaway_reason = ""

    async def begin(self, headers: Headers) -> Http2Call:
        """Send a request's headers, after waiting until the server allows another call.

        Raises:
            GRPCError: UNAVAILABLE; the connection is closing or lost.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self.reason and len(self.calls) >= self.h2.remote_settings.max_concurrent_streams:
            await self._slots.park()
        if self.reason or self.draining:
            raise connection_lost(self.reason or self._goaway_reason)
        stream_id = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream_id, headers)
        call = Http2Call(self, stream_id)
        self.register(call)
        self._keepalive.on_call()
        self.flush_h2()
        return call

    def unregister(self, call: Http2Call) -> None:
        """Remove a call; after the last one, close the connection if the server has sent GOAWAY."""
        super().unregister(call)
        self._slots.unpark()
        if self.draining and not self.calls:
            self.close(self._goaway_reason)

    def _mark_lost(self, reason: str) -> None:
        super()._mark_lost(self._goaway_reason or f"{self.name}: {reason}")
        self._slots.unpark_all()

    def _on_settings(self, event: h2e.RemoteSettingsChanged) -> None:
        super()._on_settings(event)
        self._slots.unpark_all()

    def _on_stream_end(self, event: h2e.StreamEnded) -> None:
        super()._on_stream_end(event)
        call = self.calls.get(event.stream_id or 0)
        if call is not None and not call.ended:  # the server has ended the call before our last message
            call.reset_nowait(ErrorCodes.NO_ERROR)

    def _on_goaway(self, event: h2e.ConnectionTerminated) -> None:
        self.draining = True
        self._goaway_reason = f"{self.name}: the server is shutting down"
        if event.error_code:
            detail = (event.additional_data or b"").decode(errors="replace")
            self._goaway_reason = (
                f"{self.name}: the server ended the connection: {code_name(event.error_code)} {detail}".rstrip()
            )
        self._slots.unpark_all()
        for call in list(self.calls.values()):
            if call.id > (event.last_stream_id or 0):
                call.terminate(connection_lost(self._goaway_reason))
        if not self.calls:
            self.close(self._goaway_reason)


class Call(Generic[_Request, _Reply]):
    """A call in progress. Iteration yields the replies, then raises the status if it isn't OK."""

    def __init__(self, call: Http2Call, reply_type: type[_Reply]) -> None:
        self._call = call
        self._reply_type = reply_type

    def __repr__(self) -> str:
        return f"<Call {self._call!r}>"

    @property
    def metadata(self) -> _Metadata | None:
        """The server's initial metadata, None until received."""
        return None if self._call.headers is None else decode_metadata(self._call.headers)

    @property
    def trailing_metadata(self) -> _Metadata | None:
        """The server's trailing metadata, None until the call has ended."""
        trailers = self._trailers()
        return None if trailers is None else decode_metadata(trailers)

    async def wait_for_metadata(self) -> _Metadata:
        """Wait for the server's first headers and return their metadata.

        Raises:
            GRPCError: The call ended without headers.
        """
        await self._call.wait_for_headers()
        if (metadata := self.metadata) is None:
            raise self._fault()
        return metadata

    async def send(self, message: _Request) -> None:
        """Send a message, waiting for room. After a cancellation here, the call may accept no further message.

        Raises:
            GRPCError: The call ended with this status.
            grpclib.exceptions.StreamTerminatedError: The server ended the call with OK.
        """
        try:
            await self._call.send((bytes(message),))
        except StreamTerminatedError as error:
            if self._trailers() is not None and self._status() is None:
                raise StreamTerminatedError("the server has ended the call") from error
            raise self._fault() from error

    async def end(self) -> None:
        """End the request: no more messages follow."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._call.end_nowait()

    async def receive(self) -> _Reply | None:
        """Return the next reply, or None after the last one if the status is OK.

        Raises:
            GRPCError: The call ended with this status.
        """
        try:
            data = await self._call.receive()
        except StreamTerminatedError as error:
            raise self._fault() from error
        if data is not None:
            return decode(lambda data, kind: kind.parse(data), data, self._reply_type)
        if (fault := self._status()) is not None:
            raise fault
        return None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> _Reply:
        reply = await self.receive()
        if reply is None:
            raise StopAsyncIteration
        return reply

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        call = self._call
        if not (call.inbox.ended and call.ended):
            call.reset_nowait(ErrorCodes.CANCEL)
        call.connection.unregister(call)

    def _trailers(self) -> Headers | None:
        call = self._call
        return call.trailers or (call.headers if call.inbox.ended else None)

    def _status(self) -> GRPCError | None:
        """Return the call's final status as an error, None for OK."""
        names = dict(self._trailers() or ())
        code = names.get("grpc-status")
        if code is None:
            http = dict(self._call.headers or ()).get(":status", "")
            return GRPCError(
                _HTTP_STATUSES.get(http, Status.UNKNOWN), f"no gRPC status, HTTP status {http or 'missing'}"
            )
        status = Status(int(code)) if _CODE.fullmatch(code) else Status.UNKNOWN
        return None if status is Status.OK else GRPCError(status, decode_grpc_message(names.get("grpc-message", "")))

    def _fault(self) -> GRPCError:
        """Return the error of a failed call."""
        error = self._call.error
        if self._trailers() is not None and (fault := self._status()) is not None:
            return fault
        if isinstance(error, GRPCError):
            return error
        code = error.code if isinstance(error, ResetError) else None
        status = _RESETS.get(code, Status.INTERNAL) if isinstance(code, ErrorCodes) else Status.INTERNAL
        return GRPCError(status, str(error))


class Channel:
    """One connection for any number of calls; see `open_channel`."""

    def __init__(self, connection: ClientConnection, scheme: str) -> None:
        self._connection = connection
        self._scheme = scheme

    def __repr__(self) -> str:
        return f"<Channel {self._connection!r}>"

    @asynccontextmanager
    async def stream(
        self,
        path: str,
        request_type: type[_Request],
        reply_type: type[_Reply],
        *,
        metadata: _MetadataLike = (),
    ) -> AsyncIterator[Call[_Request, _Reply]]:
        """Open a call. Leaving the block before the server has ended the call cancels it on the server.

        Args:
            path: Method path, "/package.Service/Method".
            request_type: Type of the messages sent.
            reply_type: Type of the messages received.
            metadata: Request metadata.

        Raises:
            GRPCError: UNAVAILABLE; the connection is closing or lost.
        """
        del request_type  # only binds the argument type of Call.send
        http2_call = await self._connection.begin(self._headers(path, metadata))
        async with Call[_Request, _Reply](http2_call, reply_type) as call:
            yield call

    async def unary(
        self, path: str, request: Message, reply_type: type[_Reply], *, metadata: _MetadataLike = ()
    ) -> _Reply:
        """Make a call with one request and one reply.

        Raises:
            GRPCError: The call's status, if it isn't OK; UNAVAILABLE if the connection is closing or lost.
        """
        async with self.stream(path, type(request), reply_type, metadata=metadata) as call:
            await call.send(request)
            await call.end()
            reply = await call.receive()
            if reply is None or await call.receive() is not None:
                raise GRPCError(
                    Status.INTERNAL, f"{path}: the server sent {'no' if reply is None else 'a second'} reply"
                )
            return reply

    def _headers(self, path: str, metadata: _MetadataLike) -> Headers:
        return [
            (":method", "POST"),
            (":scheme", self._scheme),
            (":path", path),
            (":authority", self._connection.name),
            ("te", "trailers"),
            ("content-type", GRPC_CONTENT_TYPE),
            ("user-agent", "grpc-python-trio"),
            *encode_metadata(metadata),
        ]


@asynccontextmanager
async def open_channel(
    host: str, port: int, *, ssl_context: ssl.SSLContext | None = None, settings: Settings | None = None
) -> AsyncIterator[Channel]:
    """Connect to a server. Leaving the block closes the connection and ends its calls.

    Args:
        host: Host name or address.
        port: TCP port.
        ssl_context: Client context for TLS, whose ALPN protocols are set to h2; None for plain TCP.
        settings: Limits; None for the defaults.

    Raises:
        GRPCError: UNAVAILABLE; the connection or TLS handshake failed.
    """
    transport = await _connect(host, port, ssl_context)
    connection = ClientConnection(transport, settings or Settings(), _authority(host, port))
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run)
        try:
            yield Channel(connection, "http" if ssl_context is None else "https")
        except Exception as error:  # raised outside the nursery, which would wrap it in an exception group
            failure = error
        finally:
            connection.close("the channel was closed")
    if failure is not None:
        raise failure


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _connect(host: str, port: int, ssl_context: ssl.SSLContext | None) -> trio.abc.Stream:
    try:
        transport = await trio.open_tcp_stream(host, port)
    except OSError as error:
        cause: BaseException = error
        while inner := getattr(cause, "exceptions", ()) or (cause.__cause__ and (cause.__cause__,)):
            cause = inner[0]  # trio groups one error per address
        raise connection_lost(f"can't connect to {_authority(host, port)}: {cause}") from error
    if ssl_context is None:
        return transport
    ssl_context.set_alpn_protocols(["h2"])
    stream = trio.SSLStream(transport, ssl_context, server_hostname=host, https_compatible=True)
    try:
        await stream.do_handshake()
    except trio.BrokenResourceError as error:
        await trio.aclose_forcefully(transport)
        reason = error.__cause__ or error
        raise connection_lost(f"TLS handshake with {_authority(host, port)} failed: {reason}") from error
    except BaseException:
        await trio.aclose_forcefully(transport)
        raise
    return stream
