"""One HTTP/2 connection on a trio stream: the tasks, the output queue, and the way from h2's events to the calls.

Both sides share it; `server` and `client` say what new headers mean. When a call's sender waits is left to
`exchange`, which peers are a nuisance to `guard`, and when silence is too long to `watch`.
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

from ttsw.grpc_trio.call import Http2Call, lost
from ttsw.grpc_trio.flood_guard import PREFACE_BYTES, FloodError, FloodGuard
from ttsw.grpc_trio.frames import MAX_STREAM_ID, goaway, header_list_bytes
from ttsw.grpc_trio.h2state import H2State
from ttsw.grpc_trio.keepalive import Keepalive
from ttsw.grpc_trio.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

_READ_BYTES = 64 * 1024
_WOKEN_AT_ONCE = 8  # senders woken per write; each of them wakes one more while there is room
_LEAST_SHARE_BYTES = 8 * 1024  # a few messages, so that taking turns costs little
_DRAIN_PING = b"draining"
_DRAIN_ACK_S = 1.0
_LINGER_S = 0.5
_ENDED_AT_ONCE = 8


class Connection:
    """The core of a connection; `run` owns all its tasks.

    Attributes:
        exchanges: Calls in progress, by stream; each stays until its task has ended.
        out: Output not yet given to the transport.
        room: Senders that wait for `out` to shrink or for the connection's window.
        unread_bytes: Input that the calls hold and have not read yet.
        turn: Counts the writes; in each turn a call may queue about `share_bytes`, so that all get theirs.
        reason: Why the connection ended or is ending; empty while it is in use.
    """

    def __init__(
        self,
        transport: trio.abc.Stream,
        settings: Settings,
        *,
        client: bool,
        name: str,
        turns: "SendTurns | None" = None,
    ) -> None:
        self.settings = settings
        self.name = name
        self.h2 = H2State(settings, client=client)
        self.exchanges: dict[int, Http2Call] = {}
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
        self._turns = turns or SendTurns()
        self._guard = FloodGuard(settings, skip_bytes=0 if client else PREFACE_BYTES)
        self._watch = Keepalive(settings, trio.current_time())
        self._uncredited = 0
        self._reading = trio.CancelScope()
        self._writing = trio.CancelScope(shield=True)  # ends by its owner's hand, after the last bytes
        self._idle_writer = trio.lowlevel.ParkingLot()
        self._flushed = trio.Event()
        self._drain_acked = trio.Event()
        self._emptied = trio.Event()
        self._over = trio.Event()
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
        return f"<{type(self).__name__} {self.name} {state}, {len(self.exchanges)} calls, {len(self.out)} bytes queued>"

    # ---- life

    async def run(self) -> None:
        """Serve the connection until it ends, then close the transport; calls still in progress are cancelled."""
        try:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(self._write_loop)
                tasks.start_soon(self._watch_loop)
                self._tasks = tasks
                try:
                    await self._run_calls()
                finally:
                    with trio.move_on_after(self.settings.flush_s, shield=True):
                        await self._flush()
                    self._writing.cancel(reason="connection over")
                    tasks.cancel_scope.cancel(reason="connection over")
        finally:
            if self._misbehaved:
                with trio.move_on_after(_LINGER_S, shield=True):
                    await self._linger()
            await trio.aclose_forcefully(self._transport)
            logger.debug("%s: closed: %s", self.name, self.reason)

    async def _run_calls(self) -> None:
        try:
            async with trio.open_nursery() as calls:
                self.calls = calls
                if self.draining:
                    self._start_drain()
                with self._reading:
                    await self._read_loop()
                await self._end_calls()
        finally:
            self.close("shutting down")
            self._end_calls_nowait()

    def close(self, reason: str, code: ErrorCodes = ErrorCodes.NO_ERROR) -> None:
        """End the connection with a GOAWAY; calls in progress are lost."""
        if self.reason:
            return
        if self.h2.usable:
            self.h2.close_connection(code, reason.encode()[:256])
            self.flush_h2()
        self._lose(reason)

    async def wait_closed(self) -> None:
        """Wait until no call can be made over this connection any more."""
        await self._over.wait()

    def _lose(self, reason: str) -> None:
        self.reason = self.reason or reason
        self._over.set()
        self._reading.cancel(reason=self.reason)
        self.room.unpark_all()

    async def _end_calls(self) -> None:
        """End the calls that are left, a few at a time: a thousand that unwind at once would keep others waiting."""
        while self._end_calls_nowait(_ENDED_AT_ONCE):
            await trio.lowlevel.checkpoint()

    def _end_calls_nowait(self, most: int | None = None) -> bool:
        """End `most` of the calls that are left; say whether there are more."""
        going = [exchange for exchange in self.exchanges.values() if exchange.error is None]
        for exchange in going[:most]:
            exchange.terminate(lost(self.reason))
        self.room.unpark_all()
        return most is not None and len(going) > most

    def drain(self) -> None:
        """Ask the peer for no new calls; the connection ends with the last one."""
        if not self.draining and not self.reason:  # one that ends has no room for another task
            self.draining = True
            if self._tasks is not None:
                self._start_drain()

    def _start_drain(self) -> None:
        assert self._tasks is not None
        self._tasks.start_soon(self._drain)

    async def _drain(self) -> None:
        # In two steps: calls that the peer began before it heard of the drain are still served.
        if not self._watch.agreed:
            self.close("draining")
            return
        self.out += goaway(MAX_STREAM_ID, ErrorCodes.NO_ERROR, b"draining")
        self.h2.ping(_DRAIN_PING)
        self.flush_h2()
        with trio.move_on_after(_DRAIN_ACK_S):
            await self._drain_acked.wait()
        self._refusing = True
        self.out += goaway(self.h2.highest_inbound_stream_id, ErrorCodes.NO_ERROR, b"draining")
        self.wake_writer()
        while self.exchanges:
            self._emptied = trio.Event()
            await self._emptied.wait()
        self.close("drained")

    # ---- output

    def flush_h2(self) -> None:
        """Queue what h2 has written."""
        if data := self.h2.data_to_send():
            self.out += data
            self._idle_writer.unpark()

    def wake_writer(self) -> None:
        """Let the writer take what was added to `out`."""
        self._idle_writer.unpark()

    def pass_room_on(self) -> None:
        """Wake the next waiting sender if there is room for it."""
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
                    self.share_bytes = max(_LEAST_SHARE_BYTES, self.settings.max_queued_bytes // (1 + len(self.room)))
                    self.room.unpark(count=_WOKEN_AT_ONCE)
                    await self._transport.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                self._on_broken(error)

    def _on_broken(self, error: Exception) -> None:
        self._flushed.set()
        self._writing.cancel(reason="transport broken")
        self._lose(f"the connection broke: {error}")

    async def _flush(self) -> None:
        """Wait until the last bytes, a GOAWAY mostly, are out."""
        while (self.out or not self._flushed.is_set()) and not self._writing.cancel_called:
            await self._flushed.wait()
            await trio.lowlevel.checkpoint()

    async def _linger(self) -> None:
        # Input left unread makes the kernel reset the connection, and that can overtake the GOAWAY which says why.
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            if isinstance(self._transport, trio.abc.HalfCloseableStream):
                await self._transport.send_eof()
            while await self._transport.receive_some(_READ_BYTES):
                pass

    # ---- input

    async def _read_loop(self) -> None:
        while True:
            while len(self.out) > 4 * self.settings.max_queued_bytes:  # answers to a peer that doesn't read them
                await self.room.park()
            try:
                data = await self._transport.receive_some(_READ_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                await self._turns.take()
                self._on_broken(error)
                return
            if not data:
                await self._turns.take()
                self._lose("the peer closed the connection")
                return
            if not await self._receive(bytes(data)):
                return

    async def _receive(self, data: bytes) -> bool:
        """Take bytes from the peer; return False when they end the connection."""
        now = trio.current_time()
        self._watch.heard(now)
        try:
            for number, piece in enumerate(self._guard.pieces(data, now)):
                if number:
                    self.flush_h2()
                    await trio.lowlevel.checkpoint()
                self._take(piece)
        except FloodError as error:
            logger.info("%s: %s: closing", self.name, error)
            self._misbehaved = True
            self.close(str(error), error.code)
            return False
        except ProtocolError as error:
            logger.debug("%s: no HTTP/2: %s", self.name, error)
            self._misbehaved = True
            self.flush_h2()
            self._lose(f"protocol error: {error}")
            return False
        self.flush_h2()
        return not self.reason

    def _take(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            if (handler := self._handlers.get(type(event))) is not None:
                handler(event)

    def on_open(self, stream_id: int, headers: list[tuple[str, str]]) -> None:
        """Take a new request. A client never gets one: h2 refuses a server's push, which our settings forbid."""
        raise AssertionError(f"a request on stream {stream_id} of a connection that takes none")

    def _on_request(self, event: h2e.RequestReceived) -> None:
        stream_id, headers = event.stream_id or 0, event.headers or []
        self._guard.count_headers(header_list_bytes(headers), trio.current_time())  # type: ignore[arg-type]
        stream = self.h2.streams.get(stream_id)
        if stream is None or stream.closed:  # by a reset in the same read
            return
        if self._refusing or len(self.exchanges) >= self.settings.max_concurrent_streams:
            self._guard.count_reset(trio.current_time())
            self.h2.reset_stream(stream_id, ErrorCodes.REFUSED_STREAM)
            return
        self._watch.busy()
        self.on_open(stream_id, headers)  # type: ignore[arg-type]  # header_encoding makes them str

    def _on_response(self, event: h2e.ResponseReceived) -> None:
        if (exchange := self.exchanges.get(event.stream_id or 0)) is not None:
            exchange.headers = event.headers  # type: ignore[assignment]  # header_encoding makes them str
            exchange.on_headers()

    def _on_trailers(self, event: h2e.TrailersReceived) -> None:
        if (exchange := self.exchanges.get(event.stream_id or 0)) is not None:
            exchange.trailers = event.headers  # type: ignore[assignment]  # header_encoding makes them str

    def _on_data(self, event: h2e.DataReceived) -> None:
        used = event.flow_controlled_length or 0
        self._uncredited += used
        if self._uncredited >= self.h2.credit_step_bytes:  # at once, so that one call unread doesn't stop the others
            self.h2.increment_flow_control_window(self._uncredited)
            self._uncredited = 0
        if (exchange := self.exchanges.get(event.stream_id or 0)) is not None:
            exchange.on_data(event.data or b"", used)
            if self.unread_bytes > self.settings.max_unread_bytes:
                self._make_room()

    def _make_room(self) -> None:
        """End the call that holds most: it has sent much ahead of its reader, or never ends a message."""
        most = max(self.exchanges.values(), key=lambda exchange: exchange.inbox.held_bytes)
        limit = self.settings.max_unread_bytes
        logger.info("%s: call %d ended with %d bytes unread", self.name, most.id, most.inbox.held_bytes)
        most.overflow(
            GRPCError(
                Status.RESOURCE_EXHAUSTED,
                f"the calls of this connection have over {limit} bytes unread; send less ahead",
            )
        )

    def _on_stream_end(self, event: h2e.StreamEnded) -> None:
        if (exchange := self.exchanges.get(event.stream_id or 0)) is not None:
            exchange.on_end()

    def _on_reset(self, event: h2e.StreamReset) -> None:
        if not event.remote_reset:  # h2's answer to the peer's mistake
            self._guard.count_reset(trio.current_time())
        if (exchange := self.exchanges.get(event.stream_id or 0)) is not None:
            exchange.terminate(ResetError(event.error_code or ErrorCodes.NO_ERROR))

    def _on_window(self, event: h2e.WindowUpdated) -> None:
        if not event.stream_id:
            self.room.unpark(count=_WOKEN_AT_ONCE)
        elif (exchange := self.exchanges.get(event.stream_id)) is not None:
            exchange.on_window()

    def _on_settings(self, _event: h2e.RemoteSettingsChanged) -> None:
        self._watch.agree()
        self.h2.bound_header_table()
        for exchange in self.exchanges.values():
            exchange.on_window()

    def _on_ping_ack(self, event: h2e.PingAckReceived) -> None:
        if event.ping_data == _DRAIN_PING:
            self._drain_acked.set()

    def _on_goaway(self, event: h2e.ConnectionTerminated) -> None:
        """Note the peer's GOAWAY; a server's calls go on."""

    # ---- calls

    def register(self, exchange: Http2Call) -> None:
        """Keep a call that begins."""
        self.exchanges[exchange.id] = exchange

    def forget(self, exchange: Http2Call) -> None:
        """Let go of a call whose task has ended."""
        if self.exchanges.pop(exchange.id, None) is not None:
            self.unread_bytes -= exchange.inbox.held_bytes
        if not self.exchanges:
            self._watch.idle(trio.current_time())
            self._emptied.set()

    # ---- silence

    async def _watch_loop(self) -> None:
        while True:
            now = trio.current_time()
            verdict, wake_at = self._watch.judge(now)
            if verdict == "ping":
                self.h2.ping(b"keepaliv")
                self.flush_h2()
            elif verdict == "idle":
                self.drain()
                return
            elif verdict:
                logger.info("%s: %s", self.name, verdict)
                self.close(verdict)
                return
            await trio.sleep_until(wake_at)


class SendTurns:
    """Lets a few tasks at a time go on: a thousand connections that are lost in one moment end one after the other."""

    def __init__(self) -> None:
        self._places = trio.Semaphore(_ENDED_AT_ONCE)

    async def take(self) -> None:
        """Wait for a turn, which lasts for one pass of the scheduler."""
        async with self._places:
            await trio.lowlevel.checkpoint()


class ResetError(StreamTerminatedError):
    """The peer reset the call; `code` is HTTP/2's reason."""

    def __init__(self, code: ErrorCodes | int) -> None:
        self.code = code
        super().__init__(f"reset by the peer: {name_of(code)}")


def name_of(code: ErrorCodes | int) -> str:
    """Return HTTP/2's name of an error code, its number if it has none."""
    return code.name if isinstance(code, ErrorCodes) else str(code)
