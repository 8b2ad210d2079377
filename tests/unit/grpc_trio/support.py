"""A service and a raw HTTP/2 client for the transport's tests."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import h2.events as h2e
import trio
from grpclib.const import Cardinality, Handler, Status
from grpclib.events import _DispatchServerEvents
from grpclib.exceptions import GRPCError
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.settings import Settings as H2Settings

from ttsw.grpc_trio import ServerStream, Settings, frames
from ttsw.grpc_trio.frames import join_messages
from ttsw.grpc_trio.request import Router
from ttsw.grpc_trio.server import ServerConnection

CONTENT_TYPE = "application/grpc"


class Raw(bytes):
    """A message that is its own encoding; parsing fails on a leading 0xFF."""

    __slots__ = ()

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        return bytes(self)

    @classmethod
    def parse(cls, data: bytes) -> "Raw":
        if data.startswith(b"\xff"):
            raise ValueError("a leading 0xFF")
        return cls(data)

    FromString = parse


@dataclass
class Service:
    """Handlers controlled by the test."""

    log: list[str] = field(default_factory=list)
    release: trio.Event = field(default_factory=trio.Event)
    held: dict[int, ServerStream[Raw, Raw]] = field(default_factory=dict)
    body: Callable[[ServerStream[Raw, Raw]], Any] | None = None

    async def unary(self, stream: ServerStream[Raw, Raw]) -> None:
        request = await stream.recv_message()
        assert request is not None
        await stream.send_message(request)

    async def echo(self, stream: ServerStream[Raw, Raw]) -> None:
        async for message in stream:
            await stream.send_message(message)

    async def hold(self, stream: ServerStream[Raw, Raw]) -> None:
        """Wait without reading until released or cancelled, and log which."""
        try:
            await stream.send_initial_metadata()
            await self.release.wait()
        except trio.Cancelled:
            self.log.append("cancelled")
            raise
        self.log.append("released")

    async def test(self, stream: ServerStream[Raw, Raw]) -> None:
        """Run the test's `body`."""
        assert self.body is not None
        await self.body(stream)

    async def boom(self, stream: ServerStream[Raw, Raw]) -> None:
        raise ValueError("a secret")

    async def status(self, stream: ServerStream[Raw, Raw]) -> None:
        raise GRPCError(Status.NOT_FOUND, "näh: 100 %\n")

    async def silent(self, stream: ServerStream[Raw, Raw]) -> None:
        await stream.recv_message()

    def __mapping__(self) -> dict[str, Handler]:
        unary, both = Cardinality.UNARY_UNARY, Cardinality.STREAM_STREAM
        return {
            "/test.Test/Unary": Handler(self.unary, unary, Raw, Raw),
            "/test.Test/Echo": Handler(self.echo, both, Raw, Raw),
            "/test.Test/Hold": Handler(self.hold, both, Raw, Raw),
            "/test.Test/Test": Handler(self.test, both, Raw, Raw),
            "/test.Test/Boom": Handler(self.boom, unary, Raw, Raw),
            "/test.Test/Status": Handler(self.status, unary, Raw, Raw),
            "/test.Test/Silent": Handler(self.silent, unary, Raw, Raw),
        }


class _ContinuingH2(H2Connection):
    """H2Connection that keeps reading after a GOAWAY."""

    def _receive_goaway_frame(self, frame):
        self.goaways.append((frame.last_stream_id, ErrorCodes(frame.error_code), bytes(frame.additional_data)))
        return [], []


class Wire:
    """An HTTP/2 client on a raw stream; collects the responses by stream."""

    def __init__(self, stream: trio.abc.Stream, *, window: int = 65535, auto_credit: bool = True) -> None:
        self.stream = stream
        self.h2 = _ContinuingH2(
            H2Configuration(client_side=True, header_encoding="utf-8", validate_outbound_headers=False)
        )
        self.h2.local_settings = H2Settings(client=True, initial_values={4: window, 2: 0})
        self.auto_credit = auto_credit
        self.raw = b""
        self.headers: dict[int, dict[str, str]] = {}
        self.data: dict[int, bytes] = defaultdict(bytes)
        self.trailers: dict[int, dict[str, str]] = {}
        self.ended: set[int] = set()
        self.resets: dict[int, int] = {}
        self.goaways: list[tuple[int, ErrorCodes, bytes]] = []  # last stream, code, reason
        self.h2.goaways = self.goaways
        self.pings = 0
        self.established = False
        self.eof = False

    async def start(self) -> None:
        self.h2.initiate_connection()
        await self.flush()
        await self.until(lambda: self.established)

    async def flush(self) -> None:
        if data := self.h2.data_to_send():
            await self.stream.send_all(data)

    async def begin(self, path: str, extra: dict[str, str] | None = None, *, end: bool = False) -> int:
        stream_id = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream_id, request_headers(path, extra), end_stream=end)
        await self.flush()
        return stream_id

    async def send(self, stream_id: int, *messages: bytes, end: bool = False) -> None:
        """Send messages that fit the window."""
        data = join_messages(messages) if messages else b""
        frame = self.h2.max_outbound_frame_size
        while len(data) > frame:
            self.h2.send_data(stream_id, data[:frame])
            data = data[frame:]
        self.h2.send_data(stream_id, data, end_stream=end)
        await self.flush()

    async def call(self, path: str, *messages: bytes, extra: dict[str, str] | None = None) -> int:
        """Make a whole call and wait for its end."""
        stream_id = await self.begin(path, extra)
        await self.send(stream_id, *messages, end=True)
        await self.until(lambda: stream_id in self.ended or stream_id in self.resets)
        return stream_id

    async def reset(self, stream_id: int) -> None:
        self.h2.reset_stream(stream_id, ErrorCodes.CANCEL)
        await self.flush()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition() and not self.eof:
            await self.read()
        assert condition(), f"the connection ended first: {self.goaways}"

    async def until_eof(self) -> None:
        while not self.eof:
            await self.read()

    async def read(self) -> None:
        try:
            data = bytes(await self.stream.receive_some(65536))
        except trio.BrokenResourceError:
            data = b""
        self.raw += data
        self.eof = not data
        for event in self.h2.receive_data(data):
            self._process(event)
        await self.flush()

    def _process(self, event: h2e.Event) -> None:
        match event:
            case h2e.ResponseReceived():
                self.headers[event.stream_id] = dict(event.headers)
            case h2e.TrailersReceived():
                self.trailers[event.stream_id] = dict(event.headers)
            case h2e.DataReceived():
                self.data[event.stream_id] += event.data
                if self.auto_credit and event.flow_controlled_length:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2e.StreamEnded():
                self.ended.add(event.stream_id)
            case h2e.StreamReset():
                self.resets[event.stream_id] = event.error_code
            case h2e.PingReceived():
                self.pings += 1
            case h2e.RemoteSettingsChanged():
                self.established = True

    def status(self, stream_id: int) -> tuple[Status, str]:
        names = self.trailers.get(stream_id) or self.headers[stream_id]
        return Status(int(names["grpc-status"])), names.get("grpc-message", "")


def request_headers(path: str, extra: dict[str, str] | None = None) -> list[tuple[str, str]]:
    names = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "test", "te": "trailers",
             "content-type": CONTENT_TYPE} | (extra or {})  # fmt: skip
    return [(name, value) for name, value in names.items() if value]


def make_connection(service: Service, transport: trio.abc.Stream, settings: Settings | None = None) -> ServerConnection:
    settings = settings or Settings()
    router = Router(service.__mapping__(), _DispatchServerEvents(), settings.max_header_list_bytes)
    return ServerConnection(transport, settings, router)


def messages_of(data: bytes) -> list[bytes]:
    found = []
    while data:
        size = int.from_bytes(data[1:5], "big")
        found.append(data[5 : 5 + size])
        data = data[5 + size :]
    return found


def split_frames(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield (type, flags, stream, body) of each whole frame in `data`."""
    offset = 0
    while offset + frames.HEAD_BYTES <= len(data):
        size, kind, flags, stream_id = frames.parse_head(data, offset)
        offset += frames.HEAD_BYTES
        yield kind, flags, stream_id, data[offset : offset + size]
        offset += size
