"""A lean gRPC client on plain non-blocking sockets, the same for every server under test.

It does what a measurement needs and no more: requests with hpack, DATA frames cut into gRPC messages by hand, credit
given back at half a window. One thread, one selector, no event loop of anyone's, so that a timestamp is taken right
after the system call that brought the bytes; on Linux the kernel's own arrival time comes with them.
"""

import selectors
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic, time_ns

from hpack import Decoder, Encoder

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
WINDOW_BYTES = 64 * 1024
CONNECTION_WINDOW_BYTES = 16 * 1024 * 1024
READ_BYTES = 256 * 1024
SO_TIMESTAMPNS = 35  # Linux; Python's socket module has no name for it

_HEAD = struct.Struct(">HBBBL")
_TIMESPEC = struct.Struct("qq")

OnMessage = Callable[["Call", bytes, int], None]


@dataclass(slots=True, eq=False)
class Call:
    """One call.

    Args:
        stream_id: Its HTTP/2 stream.
        on_message: Told of each message, with the user-space time of the read that brought its end, Unix ns.
        tag: The caller's own.
    """

    stream_id: int
    on_message: OnMessage | None = None
    tag: int = 0
    messages: int = 0
    last: bytes = b""
    ended_ns: int = 0
    status: str = ""
    unsent_credit: int = 0
    partial: bytearray = field(default_factory=bytearray)


class Connection:
    """One HTTP/2 connection and its calls."""

    def __init__(self, address: tuple[str, int], selector: selectors.BaseSelector, *, stamps: bool = False) -> None:
        self._socket = socket.create_connection(address)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stamps = stamps and sys.platform == "linux"
        if self._stamps:
            self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.setblocking(False)
        self._authority = f"{address[0]}:{address[1]}"
        self._selector = selector
        self._encoder, self._decoder = Encoder(), Decoder()
        self._in, self._out = bytearray(), bytearray(PREFACE)
        self._next_id = 1
        self._unsent_credit = 0
        self._headers = bytearray()
        self.calls: dict[int, Call] = {}
        self.kernel_ns = 0
        """When the kernel had the latest bytes read, Unix ns; 0 where it doesn't say."""
        settings = struct.pack(">HLHLHL", 2, 0, 3, 1_000_000, 4, WINDOW_BYTES)
        self._frame(SETTINGS, 0, 0, settings)
        self._frame(WINDOW_UPDATE, 0, 0, struct.pack(">L", CONNECTION_WINDOW_BYTES - 65_535))
        selector.register(self._socket, selectors.EVENT_READ, self)
        self.flush()

    def close(self) -> None:
        """Close the socket."""
        self._selector.unregister(self._socket)
        self._socket.close()

    def begin(self, path: str, *, on_message: OnMessage | None = None, tag: int = 0) -> Call:
        """Open a call; `send` its messages, then `flush`."""
        call = Call(self._next_id, on_message, tag)
        self._next_id += 2
        self.calls[call.stream_id] = call
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", self._authority),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
        ]
        self._frame(HEADERS, END_HEADERS, call.stream_id, self._encoder.encode(headers))
        return call

    def send(self, call: Call, message: bytes, *, end: bool = True) -> None:
        """Queue a message."""
        payload = struct.pack(">BL", 0, len(message)) + message
        self._frame(DATA, END_STREAM if end else 0, call.stream_id, payload)

    def flush(self) -> None:
        """Write what is queued; a client's requests are small, so the socket takes them whole."""
        self._socket.setblocking(True)
        self._socket.sendall(self._out)
        self._socket.setblocking(False)
        self._out.clear()

    def read(self) -> None:
        """Take what the socket has, and tell the calls."""
        data = self._receive()
        if not data:
            raise ConnectionError(f"the server closed the connection with {len(self.calls)} calls open")
        now = time_ns()
        buffer = self._in
        buffer += data
        at, end = 0, len(buffer)
        while end - at >= 9:
            high, low, kind, flags, stream_id = _HEAD.unpack_from(buffer, at)
            size = high << 8 | low
            if end - at - 9 < size:
                break
            body = bytes(buffer[at + 9 : at + 9 + size])
            at += 9 + size
            if kind == DATA:
                self._on_data(stream_id, body, flags, now)
            else:
                self._on_other(kind, flags, stream_id, body, now)
        del buffer[:at]
        if self._out:
            self.flush()

    def _receive(self) -> bytes:
        if not self._stamps:
            return self._socket.recv(READ_BYTES)
        data, ancillary, _, _ = self._socket.recvmsg(READ_BYTES, 64)
        self.kernel_ns = 0
        for _, kind, value in ancillary:
            if kind == SO_TIMESTAMPNS:
                seconds, nanoseconds = _TIMESPEC.unpack(value)
                self.kernel_ns = seconds * 1_000_000_000 + nanoseconds
        return data

    def _on_data(self, stream_id: int, body: bytes, flags: int, now: int) -> None:
        size = len(body)
        self._unsent_credit += size
        if self._unsent_credit >= CONNECTION_WINDOW_BYTES // 2:
            self._frame(WINDOW_UPDATE, 0, 0, struct.pack(">L", self._unsent_credit))
            self._unsent_credit = 0
        call = self.calls.get(stream_id)
        if call is None:
            return
        call.unsent_credit += size
        if call.unsent_credit >= WINDOW_BYTES // 2 and not flags & END_STREAM:
            self._frame(WINDOW_UPDATE, 0, stream_id, struct.pack(">L", call.unsent_credit))
            call.unsent_credit = 0
        if call.partial:
            call.partial += body
            body = bytes(call.partial)
            call.partial.clear()
        at, end = 0, len(body)
        while end - at >= 5:
            length = int.from_bytes(body[at + 1 : at + 5], "big")
            if end - at - 5 < length:
                break
            call.messages += 1
            call.last = body[at + 5 : at + 5 + length]
            if call.on_message is not None:
                call.on_message(call, call.last, now)
            at += 5 + length
        if at < end:
            call.partial += body[at:]
        if flags & END_STREAM:
            self._end(call, now)

    def _on_other(self, kind: int, flags: int, stream_id: int, body: bytes, now: int) -> None:
        if kind in {HEADERS, CONTINUATION}:
            self._headers += body
            if flags & END_HEADERS:
                names = {str(name): str(value) for name, value in self._decoder.decode(bytes(self._headers))}
                self._headers.clear()
                if (call := self.calls.get(stream_id)) is not None:
                    call.status = names.get("grpc-status", call.status)
            if flags & END_STREAM and (call := self.calls.get(stream_id)) is not None:
                self._end(call, now)
        elif kind == RST_STREAM and (call := self.calls.get(stream_id)) is not None:
            call.status = call.status or f"reset {int.from_bytes(body, 'big')}"
            self._end(call, now)
        elif kind == SETTINGS and not flags & ACK:
            self._frame(SETTINGS, ACK, 0, b"")
        elif kind == PING and not flags & ACK:
            self._frame(PING, ACK, 0, body)

    def _end(self, call: Call, now: int) -> None:
        call.ended_ns = now
        self.calls.pop(call.stream_id, None)

    def _frame(self, kind: int, flags: int, stream_id: int, body: bytes) -> None:
        self._out += _HEAD.pack(len(body) >> 8, len(body) & 0xFF, kind, flags, stream_id) + body


class Client:
    """Connections that share one selector."""

    def __init__(self, address: tuple[str, int], *, stamps: bool = False) -> None:
        self._address, self._stamps = address, stamps
        self._selector = selectors.DefaultSelector()
        self.connections: list[Connection] = []

    def connect(self, count: int = 1) -> list[Connection]:
        """Open connections."""
        fresh = [Connection(self._address, self._selector, stamps=self._stamps) for _ in range(count)]
        self.connections += fresh
        return fresh

    def poll(self, timeout_s: float) -> None:
        """Wait for input at most this long, and take it."""
        for key, _ in self._selector.select(max(0.0, timeout_s)):
            key.data.read()

    def wait(self, *calls: Call, timeout_s: float = 60.0) -> None:
        """Poll until these calls have ended.

        Raises:
            TimeoutError: They haven't in time.
            RuntimeError: One ended with another status than OK.
        """
        self.wait_until(lambda: all(call.ended_ns for call in calls), timeout_s=timeout_s)
        for call in calls:
            if call.status != "0":
                raise RuntimeError(f"a call ended with status {call.status!r}")

    def wait_until(self, met: Callable[[], bool], *, timeout_s: float) -> None:
        """Poll until a condition is met.

        Raises:
            TimeoutError: It isn't in time.
        """
        deadline = monotonic() + timeout_s
        while not met():
            if monotonic() > deadline:
                raise TimeoutError(f"what was waited for had not come after {timeout_s:g} s")
            self.poll(1.0)

    def unary(self, connection: Connection, path: str, message: bytes) -> bytes:
        """Make a call of one request and one reply."""
        call = connection.begin(path)
        connection.send(call, message)
        connection.flush()
        self.wait(call)
        return call.last
