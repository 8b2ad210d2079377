"""One call on a connection: what both sides do with an HTTP/2 stream.

Decides when a sender waits, in which pieces a message goes out, and when the peer gets credit for more input. Headers'
meaning is left to `request` (server) and `client`; the bytes' way to the peer to `connection`.
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
_WHOLE_BYTES = 16 * 1024  # up to here a message goes out at once or not at all


def ignore(count: int) -> None:
    """Do nothing about what is queued."""


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

    def pass_room_on(self) -> None:
        """Wake the next sender that waits for room."""
        ...

    def forget(self, exchange: "Http2Call") -> None:
        """Remove a call that is over."""
        ...


class Http2Call:
    """The state of one call: its inbox, its way out, and why it ended.

    Attributes:
        error: Why nothing more can be sent or received; None while the call lives.
        ended: Whether this side has said its last word.
        scope: Cancelled when the peer resets the call or the connection is lost.
    """

    __slots__ = (
        *("connection", "ended", "error", "headers", "id", "inbox", "scope", "trailers"),
        *("_arrival", "_h2", "_sending", "_taken", "_torn", "_turn", "_uncredited", "_window"),
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
        self._torn = False
        self._turn = -1  # the connection's turn in which this call last queued output, and how much
        self._taken = 0

    def __repr__(self) -> str:
        state = f"over: {self.error}" if self.error else "ended" if self.ended else "open"
        parked = len(self._window) + len(self._arrival)
        return f"<Exchange {self.id} {state}, {self.inbox!r}, {parked} waiting>"

    # ---- sending

    async def send(self, messages: Sequence[bytes], queued: Callable[[int], None] = ignore) -> None:
        """Queue encoded messages; see `Stream.send_encoded` for what a cancel leaves behind.

        Args:
            messages: What to send.
            queued: Told the number of messages whenever some are queued.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if not messages:
            return
        if self.send_nowait(messages):
            queued(len(messages))
            return
        async with self._sending:  # a message's pieces stay together, whoever else sends
            await trio.lowlevel.checkpoint_if_cancelled()  # the lock's own checkpoint is shielded
            for at, message in enumerate(messages):
                if self._queue(messages[at:]):
                    queued(len(messages) - at)
                    return
                await self._send_patiently(join_messages((message,)))
                queued(1)

    def send_nowait(self, messages: Sequence[bytes]) -> bool:
        """Queue all of them if the call lives, there is room, and nobody waits for some; say whether they are now."""
        return self.error is None and not self._sending.locked() and self._queue(messages)

    def _queue(self, messages: Sequence[bytes]) -> bool:
        payload = join_messages(messages)
        if len(payload) > min(self._room(), self.connection.settings.max_queued_bytes):
            return False
        if payload:
            self._write(payload)
        return True

    def _room(self) -> int:
        """Return how many bytes may be queued now; raise if the call is over."""
        if self.error is not None:
            raise self.error
        if self._torn:
            raise StreamTerminatedError("an earlier message was cancelled half-sent: the call can only be reset")
        if self.ended:
            raise ProtocolError("this side of the call has ended")
        connection = self.connection
        if len(connection.out) >= connection.settings.max_queued_bytes:
            return 0
        if self._turn == connection.turn and self._taken >= connection.share_bytes:
            return 0
        return min(connection.h2.outbound_flow_control_window, self._h2.outbound_flow_control_window)

    async def _send_patiently(self, payload: bytes) -> None:
        # Half the peer's window is what it surely gives back sooner or later: to wait for more could be for ever.
        connection = self.connection
        most = min(_WHOLE_BYTES, max(1, connection.h2.remote_settings.initial_window_size // 2))
        view = memoryview(payload)
        try:
            while view:
                room = await self._wait_for_room(min(len(view), most))
                piece = view[: min(room, connection.settings.max_queued_bytes)]
                self._write(piece)
                view = view[len(piece) :]
        finally:
            self._torn = self._torn or 0 < len(view) < len(payload)
            connection.pass_room_on()

    async def _wait_for_room(self, need: int) -> int:
        while (room := self._room()) < need:
            if self._h2.outbound_flow_control_window < need:
                self.connection.pass_room_on()
                await self._window.park()
            else:
                await self.connection.room.park()
            await trio.lowlevel.checkpoint_if_cancelled()  # room and a cancel may have come together
        return room

    def _write(self, payload: bytes | memoryview) -> None:
        connection = self.connection
        h2 = connection.h2
        size = len(payload)
        if self._turn != connection.turn:
            self._turn, self._taken = connection.turn, 0
        self._taken += size
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
        """Queue headers or trailers; they wait for no room, since they are few and small.

        Raises:
            StreamTerminatedError: The call is over.
        """
        if self.error is not None:
            raise self.error
        if self._torn and end_stream:
            self.reset_nowait(ErrorCodes.INTERNAL_ERROR)
            return
        self.connection.h2.send_headers(self.id, headers, end_stream=end_stream)
        self.ended = self.ended or end_stream
        self.connection.flush_h2()

    def end_nowait(self) -> None:
        """Say that no more messages come (a client's half-close)."""
        if self._torn:
            self.reset_nowait(ErrorCodes.CANCEL)
        elif self.error is None and not self.ended:
            self.ended = True
            self.connection.h2.end_stream(self.id)
            self.connection.flush_h2()

    def reset_nowait(self, code: ErrorCodes) -> None:
        """Tell the peer to forget this call; nothing happens if both sides ended it before."""
        if self.error is not None:
            return
        self.error = StreamTerminatedError(f"reset by us: {code.name}")
        if self.connection.h2.usable:
            with suppress(StreamClosedError):  # h2 saw both ends, or the peer's reset, first
                self.connection.h2.reset_stream(self.id, code)
            self.connection.flush_h2()
        self._wake_all()

    # ---- receiving

    async def receive(self) -> bytes | None:
        """Return the next message, or None when the peer has sent its last.

        Raises:
            GRPCError: The input can't be read on (too large, compressed, cut short), or the connection is lost.
            StreamTerminatedError: The call was reset.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while (message := self.inbox.take()) is None:
            if self.inbox.ended:
                return None
            if self.error is not None:
                raise self.error
            await self._arrival.park()
        self.connection.unread_bytes -= len(message)
        self._give_credit()
        return message

    def overflow(self, fault: GRPCError) -> None:
        """Let go of all unread input, and have the reader end with `fault`."""
        self.connection.unread_bytes -= self.inbox.held_bytes
        self.inbox.drop(fault)
        self._arrival.unpark_all()

    def on_data(self, data: bytes, credit: int) -> None:
        """Take a DATA frame's content, which used `credit` bytes of the window."""
        held_bytes = self.inbox.held_bytes
        self.inbox.feed(data)
        self.connection.unread_bytes += self.inbox.held_bytes - held_bytes
        self._uncredited += credit
        self._give_credit()
        self._arrival.unpark()

    def on_headers(self) -> None:
        """Wake a reader: response headers or trailers have arrived."""
        self._arrival.unpark_all()

    def on_end(self) -> None:
        """Note that the peer has sent its last."""
        self.inbox.end()
        self._arrival.unpark_all()

    async def wait_for_headers(self) -> None:
        """Wait until response headers, the peer's end or the call's end are there."""
        while self.headers is None and not self.inbox.ended and self.error is None:
            await self._arrival.park()

    def _give_credit(self) -> None:
        # Only when the reader can't go on otherwise, or has read what there was: the inbox stays within one window
        # plus one message, and yet a message larger than the window comes through.
        # h2 is ahead of us by the rest of a read, in which it may have seen the stream's end.
        if not self.inbox.hungry or self._h2.closed or self.error is not None:
            return
        if self._uncredited >= self.connection.settings.window_bytes // 2:
            self.connection.h2.increment_flow_control_window(self._uncredited, self.id)
            self._uncredited = 0
            self.connection.flush_h2()

    # ---- the end

    def on_window(self) -> None:
        """Wake a sender: the peer has given credit."""
        self._window.unpark_all()

    def terminate(self, error: Exception) -> None:
        """End the call at once: the peer reset it, or the connection is lost."""
        if self.error is None:
            self.error = error
            self.scope.cancel(reason=str(error))
            self._wake_all()

    def _wake_all(self) -> None:
        self._window.unpark_all()
        self._arrival.unpark_all()


def lost(reason: str) -> GRPCError:
    """Return the error of a call whose connection is gone."""
    return GRPCError(Status.UNAVAILABLE, reason)
