"""One gRPC call on an HTTP/2 stream, as client and server share it.

Decides when a sender waits, how a message is split, and when the peer receives flow-control credit. `request` (server)
and `client` interpret the headers; `connection` transfers the bytes.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

import trio
from grpclib.const import Status
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError
from h2.errors import ErrorCodes
from h2.exceptions import StreamClosedError

from ttsw.grpc_trio.frames import join_messages, write_data
from ttsw.grpc_trio.h2state import H2State
from ttsw.grpc_trio.message_reader import MessageReader
from ttsw.grpc_trio.settings import Settings

Headers = list[tuple[str, str]]
_MAX_UNSPLIT_BYTES = 16 * 1024  # smaller messages are queued whole or not at all


def ignore(count: int) -> None:
    """Ignore the number of queued messages."""


class CallConnection(Protocol):
    """The parts of a connection that its calls use; see `ttsw.grpc_trio.connection.Connection`."""

    settings: Settings
    h2: H2State
    out: bytearray
    room: trio.lowlevel.ParkingLot
    turn: int
    share_bytes: int
    unread_bytes: int

    def flush_h2(self) -> None:
        """Move h2's output to `out`."""
        ...

    def wake_writer(self) -> None:
        """Have the writer send `out`."""
        ...

    def wake_sender(self) -> None:
        """Wake the next sender that waits for room."""
        ...

    def unregister(self, call: "Http2Call") -> None:
        """Remove a call that is over."""
        ...


class Http2Call:
    """State of one call: received messages, pending sends, and the error that ended it.

    Attributes:
        error: Error that ended the call; None while it is open.
        ended: Whether this side has ended its half of the stream.
        scope: Cancel scope, cancelled when the peer resets the call or the connection is lost.
    """

    __slots__ = (
        *("connection", "ended", "error", "headers", "id", "inbox", "scope", "trailers"),
        *("_arrival", "_h2", "_sending", "_turn_bytes", "_half_sent", "_turn", "_uncredited", "_window"),
    )

    def __init__(self, connection: CallConnection, stream_id: int) -> None:
        self.connection = connection
        self.id = stream_id
        self.inbox = MessageReader(connection.settings.max_message_bytes)
        self.headers: Headers | None = None
        self.trailers: Headers | None = None
        self.scope = trio.CancelScope()
        self.error: Exception | None = None
        self.ended = False
        self._h2 = connection.h2.streams[stream_id]
        self._sending = trio.Lock()
        self._window = trio.lowlevel.ParkingLot()
        self._arrival = trio.lowlevel.ParkingLot()
        self._uncredited = 0
        self._half_sent = False
        self._turn = -1  # the connection's turn in which this call last queued output
        self._turn_bytes = 0  # bytes queued in that turn

    def __repr__(self) -> str:
        state = f"failed: {self.error}" if self.error else "ended" if self.ended else "open"
        parked = len(self._window) + len(self._arrival)
        return f"<Http2Call {self.id} {state}, {self.inbox!r}, {parked} waiting>"

    # ---- sending

    async def send(self, messages: Sequence[bytes], queued: Callable[[int], None] = ignore) -> None:
        """Queue encoded messages; see `ServerStream.send_encoded` for the effects of a cancellation.

        Args:
            messages: Encoded messages.
            queued: Callback for each batch of queued messages, called with their number.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if not messages:
            return
        if self.send_nowait(messages):
            queued(len(messages))
            return
        async with self._sending:  # keeps the pieces of a message together if several tasks send
            await trio.lowlevel.checkpoint_if_cancelled()  # the lock's own checkpoint is shielded
            for at, message in enumerate(messages):
                if self._queue(messages[at:]):
                    queued(len(messages) - at)
                    return
                await self._send_in_pieces(join_messages((message,)))
                queued(1)

    def send_nowait(self, messages: Sequence[bytes]) -> bool:
        """Queue all messages if the call is open, has room and no sender is waiting; return whether they are queued."""
        return self.error is None and not self._sending.locked() and self._queue(messages)

    def _queue(self, messages: Sequence[bytes]) -> bool:
        payload = join_messages(messages)
        if len(payload) > min(self._room(), self.connection.settings.max_queued_bytes):
            return False
        if payload:
            self._write(payload)
        return True

    def _room(self) -> int:
        """Return the number of bytes that may be queued now; raise if the call can't send."""
        if self.error is not None:
            raise self.error
        if self._half_sent:
            raise StreamTerminatedError("a cancel left an earlier message half-sent; the call can only be reset")
        if self.ended:
            raise ProtocolError("can't send: this side of the call has ended")
        connection = self.connection
        if len(connection.out) >= connection.settings.max_queued_bytes:
            return 0
        if self._turn == connection.turn and self._turn_bytes >= connection.share_bytes:
            return 0
        return min(connection.h2.outbound_flow_control_window, self._h2.outbound_flow_control_window)

    async def _send_in_pieces(self, payload: bytes) -> None:
        # A peer may credit no more than half its window at a time, and waiting for more could block forever.
        connection = self.connection
        needed_bytes = min(_MAX_UNSPLIT_BYTES, max(1, connection.h2.remote_settings.initial_window_size // 2))
        view = memoryview(payload)
        try:
            while view:
                room = await self._wait_for_room(min(len(view), needed_bytes))
                piece = view[: min(room, connection.settings.max_queued_bytes)]
                self._write(piece)
                view = view[len(piece) :]
        finally:
            self._half_sent = self._half_sent or 0 < len(view) < len(payload)
            connection.wake_sender()

    async def _wait_for_room(self, needed_bytes: int) -> int:
        while (room := self._room()) < needed_bytes:
            if self._h2.outbound_flow_control_window < needed_bytes:
                self.connection.wake_sender()
                await self._window.park()
            else:
                await self.connection.room.park()
            await trio.lowlevel.checkpoint_if_cancelled()  # a cancel may arrive together with the room
        return room

    def _write(self, payload: bytes | memoryview) -> None:
        connection = self.connection
        h2 = connection.h2
        size = len(payload)
        if self._turn != connection.turn:
            self._turn, self._turn_bytes = connection.turn, 0
        self._turn_bytes += size
        if connection.settings.data_through_h2:
            for start in range(0, size, h2.max_outbound_frame_size):
                h2.send_data(self.id, bytes(payload[start : start + h2.max_outbound_frame_size]))
            connection.flush_h2()
            return
        h2.outbound_flow_control_window -= size
        self._h2.outbound_flow_control_window -= size
        write_data(connection.out, self.id, payload, h2.max_outbound_frame_size)
        connection.wake_writer()

    def send_headers_nowait(self, headers: Headers, *, end_stream: bool = False) -> None:
        """Queue headers or trailers without waiting for room, since they are small.

        Raises:
            StreamTerminatedError: The call was reset.
        """
        if self.error is not None:
            raise self.error
        if self._half_sent and end_stream:
            self.reset_nowait(ErrorCodes.INTERNAL_ERROR)
            return
        self.connection.h2.send_headers(self.id, headers, end_stream=end_stream)
        self.ended = self.ended or end_stream
        self.connection.flush_h2()

    def end_nowait(self) -> None:
        """End this side of the stream (a client's half-close)."""
        if self._half_sent:
            self.reset_nowait(ErrorCodes.CANCEL)
        elif self.error is None and not self.ended:
            self.ended = True
            self.connection.h2.end_stream(self.id)
            self.connection.flush_h2()

    def reset_nowait(self, code: ErrorCodes) -> None:
        """Reset the call; do nothing if both sides have already ended it."""
        if self.error is not None:
            return
        self.error = StreamTerminatedError(f"reset locally: {code.name}")
        if self.connection.h2.usable:
            with suppress(StreamClosedError):  # h2 has already seen both ends of the stream, or the peer's reset
                self.connection.h2.reset_stream(self.id, code)
            self.connection.flush_h2()
        self._wake_all()

    # ---- receiving

    async def receive(self) -> bytes | None:
        """Return the next message, or None after the peer's last one.

        Raises:
            GRPCError: The next message is too large, compressed or truncated, or the connection is lost.
            StreamTerminatedError: The call was reset.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while (message := self.inbox.next_message()) is None:
            if self.inbox.ended:
                return None
            if self.error is not None:
                raise self.error
            await self._arrival.park()
        self.connection.unread_bytes -= len(message)
        self._give_credit()
        return message

    def overflow(self, fault: GRPCError) -> None:
        """Discard all unread input and raise `fault` in the reader."""
        self.connection.unread_bytes -= self.inbox.buffered_bytes
        self.inbox.discard(fault)
        self._arrival.unpark_all()

    def on_data(self, data: bytes, credit: int) -> None:
        """Buffer the content of a DATA frame that used `credit` bytes of the window."""
        before = self.inbox.buffered_bytes
        self.inbox.feed(data)
        self.connection.unread_bytes += self.inbox.buffered_bytes - before
        self._uncredited += credit
        self._give_credit()
        self._arrival.unpark()

    def on_headers(self) -> None:
        """Wake the reader after response headers or trailers."""
        self._arrival.unpark_all()

    def on_end(self) -> None:
        """Record the end of the peer's stream and wake the reader."""
        self.inbox.end()
        self._arrival.unpark_all()

    async def wait_for_headers(self) -> None:
        """Wait for response headers, the end of the peer's stream, or the end of the call."""
        while self.headers is None and not self.inbox.ended and self.error is None:
            await self._arrival.park()

    def _give_credit(self) -> None:
        # Credit is given only while the inbox has no whole message. This bounds the inbox to one window plus one
        # message, and still lets a message larger than the window arrive.
        # h2 has already parsed the rest of this read, and may have closed the stream.
        if not self.inbox.needs_input or self._h2.closed or self.error is not None:
            return
        if self._uncredited >= self.connection.settings.window_bytes // 2:
            self.connection.h2.increment_flow_control_window(self._uncredited, self.id)
            self._uncredited = 0
            self.connection.flush_h2()

    # ---- the end

    def on_window(self) -> None:
        """Wake the senders after a WINDOW_UPDATE or new SETTINGS."""
        self._window.unpark_all()

    def terminate(self, error: Exception) -> None:
        """End the call immediately, after the peer's reset or the loss of the connection."""
        if self.error is None:
            self.error = error
            self.scope.cancel(reason=str(error))
            self._wake_all()

    def _wake_all(self) -> None:
        self._window.unpark_all()
        self._arrival.unpark_all()


def connection_lost(reason: str) -> GRPCError:
    """Return the error for a call whose connection is lost."""
    return GRPCError(Status.UNAVAILABLE, reason)
