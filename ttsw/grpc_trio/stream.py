"""Server stream: grpclib's interface for handlers, on a trio connection.

Keeps grpclib's interface and metadata rules, and replaces its message transfer. `request` maps a handler's error to a
status.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import grpclib.server
import trio
from grpclib.const import Status
from grpclib.exceptions import GRPCError, ProtocolError
from h2.errors import ErrorCodes

from ttsw.grpc_trio.call import Http2Call, ignore
from ttsw.grpc_trio.schema import SchemaError, check

if TYPE_CHECKING:
    from ttsw.grpc_trio.connection import Connection

_Recv = TypeVar("_Recv")
_Send = TypeVar("_Send")
_Message = TypeVar("_Message")


class Peer:
    """The remote end of a connection; grpclib's Peer on a trio stream."""

    def __init__(self, transport: trio.abc.Stream) -> None:
        tls = transport if isinstance(transport, trio.SSLStream) else None
        lower = tls.transport_stream if tls else transport
        self._cert: dict[str, Any] | None = tls.getpeercert() if tls else None
        self._addr: tuple[str, int] | None = _address(lower)

    def addr(self) -> tuple[str, int] | None:
        """Return the remote address, None if the transport has none."""
        return self._addr

    def cert(self) -> dict[str, Any] | None:
        """Return the peer's certificate, None without TLS or without a certificate."""
        return self._cert


def _address(transport: trio.abc.Stream) -> tuple[str, int] | None:
    try:
        return transport.socket.getpeername()[:2]  # type: ignore[attr-defined, no-any-return]
    except (AttributeError, OSError):  # not a socket, or already disconnected
        return None


class H2Stream:
    """Adapter of a call to the HTTP/2 stream interface that grpclib's Stream uses."""

    def __init__(self, call: Http2Call, peer: Peer) -> None:
        self.call = call
        self.connection = self
        self._peer = peer

    def get_peer(self) -> Peer:
        """Return the connection's remote end."""
        return self._peer

    @property
    def closable(self) -> bool:
        """Whether the peer may still be sending, and a reset would stop it."""
        return not self.call.inbox.ended and self.call.error is None

    async def send_headers(self, headers: list[tuple[str, str]], end_stream: bool = False) -> None:
        """Queue headers or trailers."""
        self.call.send_headers_nowait(headers, end_stream=end_stream)

    def reset_nowait(self, code: ErrorCodes = ErrorCodes.NO_ERROR) -> None:
        """Reset the stream."""
        self.call.reset_nowait(code)

    async def reset(self) -> None:
        """Reset the stream with the code CANCEL."""
        self.call.reset_nowait(ErrorCodes.CANCEL)


class ServerStream(grpclib.server.Stream[_Recv, _Send], Generic[_Recv, _Send]):
    """A call's interface for its handler: `grpclib.server.Stream`, plus `send_encoded` for the hot path."""

    _stream: Any  # an H2Stream; grpclib declares its own type

    @property
    def link(self) -> "Connection":
        """The call's connection, shared by all its calls; use `wait_closed` to wait for its end."""
        connection: Connection = self._stream.call.connection
        return connection

    async def recv_message(self) -> _Recv | None:
        """Return the client's next message, or None after its last one.

        Raises:
            GRPCError: RESOURCE_EXHAUSTED for a message over the limit; INVALID_ARGUMENT for one that doesn't match its
                schema; INTERNAL for one that can't be decoded, or for a unary request without a message.
            grpclib.exceptions.StreamTerminatedError: The call was reset.
        """
        data = await self._stream.call.receive()
        if data is None:
            if not self._cardinality.client_streaming and not self._messages_received:
                raise GRPCError(Status.INTERNAL, "the request carries no message")
            return None
        message = decode(self._codec.decode, data, self._recv_type)
        (message,) = await self._dispatch.recv_message(message)
        self._messages_received += 1
        return message

    async def send_message(self, message: _Send) -> None:
        """Encode and queue a message, waiting for flow-control credit and room in the output queue.

        Raises:
            grpclib.exceptions.ProtocolError: A second reply in a call with a single reply.
            grpclib.exceptions.StreamTerminatedError: The call was reset.
        """
        if self._send_message_done and not self._cardinality.server_streaming:
            raise ProtocolError("Message was already sent")
        (message,) = await self._dispatch.send_message(message)
        await self.send_encoded((self._codec.encode(message, self._send_type),))

    def send_encoded_nowait(self, messages: Sequence[bytes]) -> bool:
        """Queue encoded messages if all of them fit now.

        Nothing is queued before the initial metadata, which `send_encoded` sends.

        Returns:
            Whether the messages are queued. If not, call `send_encoded`, which waits for room or raises the call's
            error.
        """
        if not self._send_initial_metadata_done or not self._stream.call.send_nowait(messages):
            return False
        self._messages_sent += len(messages)
        return True

    async def send_encoded(self, messages: Sequence[bytes], queued: Callable[[int], None] = ignore) -> None:
        """Queue encoded messages, without a SendMessage event.

        Messages that fit share DATA frames and one check of queue and window.

        Cancellation: a message of up to 16 KiB (or half the peer's initial window, if smaller) is queued whole or not
        at all, and the call can send further messages. A larger message may be sent in part; then the call can only be
        reset, and later sends raise. Queued messages are sent despite the cancellation.

        The call is a schedule point only if it waits for room, which happens at least once per 64 KiB of output.

        Args:
            messages: Encoded protobuf messages.
            queued: Callback for each batch of queued messages, called with their number. After a cancellation, the sum
                is the number of queued messages.

        Raises:
            grpclib.exceptions.StreamTerminatedError: The call was reset, or a cancel left an earlier message half-sent.
            GRPCError: UNAVAILABLE; the connection is lost.
        """
        if not self._send_initial_metadata_done:
            await self.send_initial_metadata()
        await self._stream.call.send(messages, queued)
        self._send_message_done = True
        self._messages_sent += len(messages)


def decode(decoder: Callable[[bytes, type[_Message]], _Message], data: bytes, message_type: type[_Message]) -> _Message:
    """Decode a message.

    Raises:
        GRPCError: INVALID_ARGUMENT with the field's name if the bytes don't match the schema; INTERNAL, as gRPC
            specifies, for any other decoding error.
    """
    try:
        check(data, message_type)
        return decoder(data, message_type)
    except SchemaError as error:
        raise GRPCError(Status.INVALID_ARGUMENT, str(error)) from error
    except Exception as error:
        name = message_type.__name__
        raise GRPCError(Status.INTERNAL, f"can't decode {len(data)} bytes as {name}: {error}") from error
