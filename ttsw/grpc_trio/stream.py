"""What a service's handler holds: grpclib's server Stream on a trio connection.

Keeps grpclib's interface and its metadata rules, replaces how messages come and go. Which status a handler's error
becomes is left to `request`.
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
    """The other end of a connection; grpclib's Peer on a trio stream."""

    def __init__(self, transport: trio.abc.Stream) -> None:
        tls = transport if isinstance(transport, trio.SSLStream) else None
        lower = tls.transport_stream if tls else transport
        self._cert: dict[str, Any] | None = tls.getpeercert() if tls else None
        self._addr: tuple[str, int] | None = _address(lower)

    def addr(self) -> tuple[str, int] | None:
        """Return the remote address, None where the transport has none."""
        return self._addr

    def cert(self) -> dict[str, Any] | None:
        """Return the peer's certificate, None without TLS or without one."""
        return self._cert


def _address(transport: trio.abc.Stream) -> tuple[str, int] | None:
    try:
        return transport.socket.getpeername()[:2]  # type: ignore[attr-defined, no-any-return]
    except (AttributeError, OSError):  # not a socket, or one whose peer has gone already
        return None


class H2Stream:
    """The HTTP/2 stream as grpclib's Stream wants to see it."""

    def __init__(self, exchange: Http2Call, peer: Peer) -> None:
        self.exchange = exchange
        self.connection = self
        self._peer = peer

    def get_peer(self) -> Peer:
        """Return the connection's other end."""
        return self._peer

    @property
    def closable(self) -> bool:
        """Whether the peer may still be sending, so that a reset tells it something."""
        return not self.exchange.inbox.ended and self.exchange.error is None

    async def send_headers(self, headers: list[tuple[str, str]], end_stream: bool = False) -> None:
        """Queue headers or trailers."""
        self.exchange.send_headers_nowait(headers, end_stream=end_stream)

    def reset_nowait(self, code: ErrorCodes = ErrorCodes.NO_ERROR) -> None:
        """Reset the stream."""
        self.exchange.reset_nowait(code)

    async def reset(self) -> None:
        """Reset the stream as cancelled."""
        self.exchange.reset_nowait(ErrorCodes.CANCEL)


class ServerStream(grpclib.server.Stream[_Recv, _Send], Generic[_Recv, _Send]):
    """One call, as its handler sees it: `grpclib.server.Stream`, and `send_encoded` for the hot path."""

    _stream: Any  # an H2Stream, where grpclib declares its own

    @property
    def link(self) -> "Connection":
        """The connection that the call came over: one object for all its calls, with `wait_closed`."""
        connection: Connection = self._stream.exchange.connection
        return connection

    async def recv_message(self) -> _Recv | None:
        """Return the client's next message, or None after its last.

        Raises:
            GRPCError: RESOURCE_EXHAUSTED for a message over the limit; INVALID_ARGUMENT for one that doesn't fit its
                schema; INTERNAL for one that is missing in a call that is to have exactly one, or can't be read.
            grpclib.exceptions.StreamTerminatedError: The call is over.
        """
        data = await self._stream.exchange.receive()
        if data is None:
            if not self._cardinality.client_streaming and not self._messages_received:
                raise GRPCError(Status.INTERNAL, "the request carries no message")
            return None
        message = decode(self._codec.decode, data, self._recv_type)
        (message,) = await self._dispatch.recv_message(message)
        self._messages_received += 1
        return message

    async def send_message(self, message: _Send) -> None:
        """Encode and queue a message; waits while the peer or the connection has no room.

        Raises:
            grpclib.exceptions.ProtocolError: A second message in a call that has exactly one.
            grpclib.exceptions.StreamTerminatedError: The call is over.
        """
        if self._send_message_done and not self._cardinality.server_streaming:
            raise ProtocolError("Message was already sent")
        (message,) = await self._dispatch.send_message(message)
        await self.send_encoded((self._codec.encode(message, self._send_type),))

    def send_encoded_nowait(self, messages: Sequence[bytes]) -> bool:
        """Queue messages that are encoded already, all of them, if there is room for them now.

        Returns:
            Whether they are queued. Where not, `send_encoded` waits for room, or says that the call is over; it also
            sends the initial metadata, before which nothing is queued here.
        """
        if not self._send_initial_metadata_done or not self._stream.exchange.send_nowait(messages):
            return False
        self._messages_sent += len(messages)
        return True

    async def send_encoded(self, messages: Sequence[bytes], queued: Callable[[int], None] = ignore) -> None:
        """Queue messages that are encoded already; the SendMessage event doesn't see them.

        They share DATA frames, and one check of room and window, as far as they fit. Each message of up to 16 KiB
        (or half the peer's initial window, if that is less) is queued as a whole or, when cancelled before, not at
        all: the call goes on with the next. Of a larger one a part may be out when the cancel comes; then the call is
        only good for a reset, and later sends raise. What is queued goes to the peer. Without a wait for room this
        is no schedule point; 64 KiB of output always make one.

        Args:
            messages: Protobuf messages, encoded.
            queued: Told the number of messages whenever some are queued: after a cancel, the sum says how far it came.

        Raises:
            grpclib.exceptions.StreamTerminatedError: The call is over, or an earlier message was torn by a cancel.
            GRPCError: UNAVAILABLE, the connection is lost.
        """
        if not self._send_initial_metadata_done:
            await self.send_initial_metadata()
        await self._stream.exchange.send(messages, queued)
        self._send_message_done = True
        self._messages_sent += len(messages)


def decode(decoder: Callable[[bytes, type[_Message]], _Message], data: bytes, message_type: type[_Message]) -> _Message:
    """Decode a message, or say in one line why it can't be.

    Raises:
        GRPCError: INVALID_ARGUMENT, with the field's name, for bytes that don't fit the message's schema; INTERNAL, as
            gRPC has it, for any others that are no such message.
    """
    try:
        check(data, message_type)
        return decoder(data, message_type)
    except SchemaError as error:
        raise GRPCError(Status.INVALID_ARGUMENT, str(error)) from error
    except Exception as error:
        name = message_type.__name__
        raise GRPCError(Status.INTERNAL, f"{len(data)} bytes are no {name}: {error}") from error
