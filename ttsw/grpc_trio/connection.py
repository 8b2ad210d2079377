"""One HTTP/2 connection on a trio stream: its tasks, its output queue, and the dispatch of h2's events to calls.

Shared by `server` and `client`, which handle new headers. `call` decides when a sender waits, `flood_guard` detects
abusive peers, and `keepalive` detects silent ones.
"""

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import h2.events as h2e
import trio
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

from ttsw.grpc_trio.call import Http2Call, connection_lost
from ttsw.grpc_trio.flood_guard import PREFACE_BYTES, FloodError, FloodGuard
from ttsw.grpc_trio.frames import MAX_STREAM_ID, goaway, header_list_bytes
from ttsw.grpc_trio.h2state import H2State
from ttsw.grpc_trio.keepalive import Keepalive
from ttsw.grpc_trio.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

_READ_BYTES = 64 * 1024
_WAKE_BATCH = 8  # senders woken per write; each wakes another one while there is room
_MIN_SHARE_BYTES = 8 * 1024  # a few messages; smaller shares would switch between senders too often
_DRAIN_PING = b"draining"
_DRAIN_ACK_TIMEOUT_S = 1.0
_LINGER_S = 0.5
_TEARDOWN_BATCH = 8


class Connection:
    """Base class of client and server connections; `run` owns all tasks.

    Attributes:
        calls: Calls in progress by stream id; a call is removed when its task has ended.
        out: Output not yet passed to the transport.
        room: Senders waiting for `out` to shrink or for the connection's window.
        unread_bytes: Received input that the calls have not read yet.
        turn: Number of writes so far. A call may queue about `share_bytes` per turn, for fairness.
        share_bytes: Output that one call may queue per turn.
        reason: Reason for closing; empty while the connection is in use.
    """

    def __init__(
        self,
        transport: trio.abc.Stream,
        settings: Settings,
        *,
        client: bool,
        name: str,
        teardown: "TeardownLimiter | None" = None,
    ) -> None:
        self.settings = settings
        self.name = name
        self.h2 = H2State(settings, client=client)
        self.calls: dict[int, Http2Call] = {}
        self.out = bytearray()
        self.room = trio.lowlevel.ParkingLot()
        self.turn = 0
        self.unread_bytes = 0
        self.share_bytes = settings.max_queued_bytes
        self.reason = ""
        self.draining = False
        self._refusing = False
        self._misbehaved = False
        self._transport = transport
        self._teardown = teardown or TeardownLimiter()
        self._flood_guard = FloodGuard(settings, skip_bytes=0 if client else PREFACE_BYTES)
        self._keepalive = Keepalive(settings, trio.current_time())
        self._uncredited = 0
        self._reading = trio.CancelScope()
        self._writing = trio.CancelScope(shield=True)  # cancelled explicitly, after the last bytes
        self._idle_writer = trio.lowlevel.ParkingLot()
        self._flushed = trio.Event()
        self._drain_acked = trio.Event()
        self._calls_ended = trio.Event()
        self._closed = trio.Event()
        self._tasks: trio.Nursery | None = None
        self._handlers: dict[type[h2e.Event], Callable[[Any], None]] = {
            h2e.RequestReceived: self._on_request,
            h2e.ResponseReceived: self._on_response,
            h2e.TrailersReceived: self._on_trailers,
            h2e.DataReceived: self._on_data,
            h2e.StreamEnded: self._on_stream_end,
            h2e.StreamReset: self._on_reset,
            h2e.WindowUpdated: self._on_window,
            h2e.RemoteSettingsChanged: self._on_settings,
            h2e.PingAckReceived: self._on_ping_ack,
            h2e.ConnectionTerminated: self._on_goaway,
        }
        self.h2.open_connection()
        self.flush_h2()

    def __repr__(self) -> str:
        state = self.reason or ("draining" if self.draining else "open")
        return f"<{type(self).__name__} {self.name} {state}, {len(self.calls)} calls, {len(self.out)} bytes queued>"

    # ---- lifecycle

    async def run(self) -> None:
        """Serve the connection until it ends, then close the transport; calls still in progress are cancelled."""
        try:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(self._write_loop)
                tasks.start_soon(self._keepalive_loop)
                self._tasks = tasks
                try:
                    await self._run_calls()
                finally:
                    with trio.move_on_after(self.settings.flush_s, shield=True):
                        await self._flush()
                    self._writing.cancel(reason="connection closed")
                    tasks.cancel_scope.cancel(reason="connection closed")
        finally:
            if self._misbehaved:
                with trio.move_on_after(_LINGER_S, shield=True):
                    await self._linger()
            await trio.aclose_forcefully(self._transport)
            logger.debug("%s: closed: %s", self.name, self.reason)

    async def _run_calls(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                self._call_nursery = nursery
                if self.draining:
                    self._start_drain()
                with self._reading:
                    await self._read_loop()
                await self._end_calls()
        finally:
            self.close("shutting down")
            self._end_calls_nowait()

    def close(self, reason: str, code: ErrorCodes = ErrorCodes.NO_ERROR) -> None:
        """Send GOAWAY and close the connection; calls in progress fail."""
        if self.reason:
            return
        if self.h2.usable:
            self.h2.close_connection(code, reason.encode()[:256])
            self.flush_h2()
        self._mark_lost(reason)

    async def wait_closed(self) -> None:
        """Wait until the connection is closed or lost."""
        await self._closed.wait()

    def _mark_lost(self, reason: str) -> None:
        self.reason = self.reason or reason
        self._closed.set()
        self._reading.cancel(reason=self.reason)
        self.room.unpark_all()

    async def _end_calls(self) -> None:
        """End the remaining calls in small batches: cancelling a thousand at once would delay other tasks."""
        while self._end_calls_nowait(_TEARDOWN_BATCH):
            await trio.lowlevel.checkpoint()

    def _end_calls_nowait(self, limit: int | None = None) -> bool:
        """End up to `limit` calls (None for all); return whether more remain."""
        active = [call for call in self.calls.values() if call.error is None]
        for call in active[:limit]:
            call.terminate(connection_lost(self.reason))
        self.room.unpark_all()
        return limit is not None and len(active) > limit

    def drain(self) -> None:
        """Refuse new calls, finish the current ones, then close the connection."""
        if not self.draining and not self.reason:  # a closing connection can't start another task
            self.draining = True
            if self._tasks is not None:
                self._start_drain()

    def _start_drain(self) -> None:
        assert self._tasks is not None
        self._tasks.start_soon(self._drain)

    async def _drain(self) -> None:
        # Two GOAWAYs: calls that the peer starts before it receives the first one are still served.
        if not self._keepalive.established:
            self.close("draining")
            return
        self.out += goaway(MAX_STREAM_ID, ErrorCodes.NO_ERROR, b"draining")
        self.h2.ping(_DRAIN_PING)
        self.flush_h2()
        with trio.move_on_after(_DRAIN_ACK_TIMEOUT_S):
            await self._drain_acked.wait()
        self._refusing = True
        self.out += goaway(self.h2.highest_inbound_stream_id, ErrorCodes.NO_ERROR, b"draining")
        self.wake_writer()
        while self.calls:
            self._calls_ended = trio.Event()
            await self._calls_ended.wait()
        self.close("drained")

    # ---- output

    def flush_h2(self) -> None:
        """Queue h2's pending output."""
        if data := self.h2.data_to_send():
            self.out += data
            self._idle_writer.unpark()

    def wake_writer(self) -> None:
        """Wake the writer after output was added to `out`."""
        self._idle_writer.unpark()

    def wake_sender(self) -> None:
        """Wake the next waiting sender if the queue and the window have room."""
        if self.room and len(self.out) < self.settings.max_queued_bytes and self.h2.outbound_flow_control_window > 0:
            self.room.unpark()

    async def _write_loop(self) -> None:
        with self._writing:
            try:
                while True:
                    if not self.out:
                        self._flushed.set()
                        await self._idle_writer.park()
                        continue
                    data, self.out = self.out, bytearray()
                    if self._flushed.is_set():
                        self._flushed = trio.Event()
                    self.turn += 1
                    self.share_bytes = max(_MIN_SHARE_BYTES, self.settings.max_queued_bytes // (1 + len(self.room)))
                    self.room.unpark(count=_WAKE_BATCH)
                    await self._transport.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                self._on_broken(error)

    def _on_broken(self, error: Exception) -> None:
        self._flushed.set()
        self._writing.cancel(reason="transport broken")
        self._mark_lost(f"connection lost: {error}")

    async def _flush(self) -> None:
        """Wait until the last bytes, usually a GOAWAY, are written."""
        while (self.out or not self._flushed.is_set()) and not self._writing.cancel_called:
            await self._flushed.wait()
            await trio.lowlevel.checkpoint()

    async def _linger(self) -> None:
        # With unread input, the kernel resets the connection on close, and the peer may lose the GOAWAY.
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            if isinstance(self._transport, trio.abc.HalfCloseableStream):
                await self._transport.send_eof()
            while await self._transport.receive_some(_READ_BYTES):
                pass

    # ---- input

    async def _read_loop(self) -> None:
        while True:
            while len(self.out) > 4 * self.settings.max_queued_bytes:  # the peer doesn't read our replies
                await self.room.park()
            try:
                data = await self._transport.receive_some(_READ_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                await self._teardown.wait_turn()
                self._on_broken(error)
                return
            if not data:
                await self._teardown.wait_turn()
                self._mark_lost("the peer closed the connection")
                return
            if not await self._receive(bytes(data)):
                return

    async def _receive(self, data: bytes) -> bool:
        """Process bytes from the peer; return False if they end the connection."""
        now = trio.current_time()
        self._keepalive.on_input(now)
        try:
            for number, piece in enumerate(self._flood_guard.split(data, now)):
                if number:
                    self.flush_h2()
                    await trio.lowlevel.checkpoint()
                self._process(piece)
        except FloodError as error:
            logger.info("%s: %s; closing connection", self.name, error)
            self._misbehaved = True
            self.close(str(error), error.code)
            return False
        except ProtocolError as error:
            logger.debug("%s: HTTP/2 protocol error: %s", self.name, error)
            self._misbehaved = True
            self.flush_h2()
            self._mark_lost(f"protocol error: {error}")
            return False
        self.flush_h2()
        return not self.reason

    def _process(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            if (handler := self._handlers.get(type(event))) is not None:
                handler(event)

    def on_open(self, stream_id: int, headers: list[tuple[str, str]]) -> None:
        """Handle a new request. Never called on a client: our settings forbid server push, and h2 rejects it."""
        raise AssertionError(f"unexpected request on stream {stream_id} of a client connection")

    def _on_request(self, event: h2e.RequestReceived) -> None:
        stream_id, headers = event.stream_id or 0, event.headers or []
        self._flood_guard.count_headers(header_list_bytes(headers), trio.current_time())  # type: ignore[arg-type]
        stream = self.h2.streams.get(stream_id)
        if stream is None or stream.closed:  # reset within the same read
            return
        if self._refusing or len(self.calls) >= self.settings.max_concurrent_streams:
            self._flood_guard.count_reset(trio.current_time())
            self.h2.reset_stream(stream_id, ErrorCodes.REFUSED_STREAM)
            return
        self._keepalive.on_call()
        self.on_open(stream_id, headers)  # type: ignore[arg-type]  # header_encoding makes them str

    def _on_response(self, event: h2e.ResponseReceived) -> None:
        if (call := self.calls.get(event.stream_id or 0)) is not None:
            call.headers = event.headers  # type: ignore[assignment]  # header_encoding makes them str
            call.on_headers()

    def _on_trailers(self, event: h2e.TrailersReceived) -> None:
        if (call := self.calls.get(event.stream_id or 0)) is not None:
            call.trailers = event.headers  # type: ignore[assignment]  # header_encoding makes them str

    def _on_data(self, event: h2e.DataReceived) -> None:
        used = event.flow_controlled_length or 0
        self._uncredited += used
        if self._uncredited >= self.h2.credit_step_bytes:  # before the call reads it: a slow call must not block others
            self.h2.increment_flow_control_window(self._uncredited)
            self._uncredited = 0
        if (call := self.calls.get(event.stream_id or 0)) is not None:
            call.on_data(event.data or b"", used)
            if self.unread_bytes > self.settings.max_unread_bytes:
                self._end_largest_call()

    def _end_largest_call(self) -> None:
        """End the call with the most unread bytes: its reader is far behind, or its message never ends."""
        largest = max(self.calls.values(), key=lambda call: call.inbox.buffered_bytes)
        limit = self.settings.max_unread_bytes
        logger.info("%s: call %d ended with %d bytes unread", self.name, largest.id, largest.inbox.buffered_bytes)
        largest.overflow(
            GRPCError(
                Status.RESOURCE_EXHAUSTED,
                f"the calls of this connection have over {limit} bytes unread; send less ahead",
            )
        )

    def _on_stream_end(self, event: h2e.StreamEnded) -> None:
        if (call := self.calls.get(event.stream_id or 0)) is not None:
            call.on_end()

    def _on_reset(self, event: h2e.StreamReset) -> None:
        if not event.remote_reset:  # h2 reset the stream for a protocol error
            self._flood_guard.count_reset(trio.current_time())
        if (call := self.calls.get(event.stream_id or 0)) is not None:
            call.terminate(ResetError(event.error_code or ErrorCodes.NO_ERROR))

    def _on_window(self, event: h2e.WindowUpdated) -> None:
        if not event.stream_id:
            self.room.unpark(count=_WAKE_BATCH)
        elif (call := self.calls.get(event.stream_id)) is not None:
            call.on_window()

    def _on_settings(self, _event: h2e.RemoteSettingsChanged) -> None:
        self._keepalive.on_settings()
        self.h2.bound_header_table()
        for call in self.calls.values():
            call.on_window()

    def _on_ping_ack(self, event: h2e.PingAckReceived) -> None:
        if event.ping_data == _DRAIN_PING:
            self._drain_acked.set()

    def _on_goaway(self, event: h2e.ConnectionTerminated) -> None:
        """Handle the peer's GOAWAY; ignored on a server, whose calls continue."""

    # ---- calls

    def register(self, call: Http2Call) -> None:
        """Add a new call."""
        self.calls[call.id] = call

    def unregister(self, call: Http2Call) -> None:
        """Remove a call whose task has ended."""
        if self.calls.pop(call.id, None) is not None:
            self.unread_bytes -= call.inbox.buffered_bytes
        if not self.calls:
            self._keepalive.on_idle(trio.current_time())
            self._calls_ended.set()

    # ---- keepalive

    async def _keepalive_loop(self) -> None:
        while True:
            now = trio.current_time()
            action, wake_at = self._keepalive.check(now)
            if action == "ping":
                self.h2.ping(b"keepaliv")
                self.flush_h2()
            elif action == "idle":
                self.drain()
                return
            elif action:
                logger.info("%s: %s", self.name, action)
                self.close(action)
                return
            await trio.sleep_until(wake_at)


class TeardownLimiter:
    """Limits how many connections are torn down per scheduler pass, in case a thousand are lost at once."""

    def __init__(self) -> None:
        self._slots = trio.Semaphore(_TEARDOWN_BATCH)

    async def wait_turn(self) -> None:
        """Wait for a free slot, and hold it for one scheduler pass."""
        async with self._slots:
            await trio.lowlevel.checkpoint()


class ResetError(StreamTerminatedError):
    """The peer reset the call; `code` is the HTTP/2 error code."""

    def __init__(self, code: ErrorCodes | int) -> None:
        self.code = code
        super().__init__(f"reset by the peer: {code_name(code)}")


def code_name(code: ErrorCodes | int) -> str:
    """Return the HTTP/2 name of an error code, or its number if it is unknown."""
    return code.name if isinstance(code, ErrorCodes) else str(code)
