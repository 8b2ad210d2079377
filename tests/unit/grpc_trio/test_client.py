"""The client against a scripted server."""

from collections.abc import AsyncIterator

import h2.events as h2e
import pytest
import trio
import trio.testing
from grpclib.const import Status
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes

from tests.unit.grpc_trio.support import Raw
from ttsw.grpc_trio import Channel, Settings
from ttsw.grpc_trio.client import ClientConnection
from ttsw.grpc_trio.frames import goaway, join_messages

HEADERS = [(":status", "200"), ("content-type", "application/grpc")]
OK = [("grpc-status", "0")]
NO_STATUS = "no gRPC status, HTTP status "
PATH = "/test.Test/Test"


class Far:
    """The server's end: an H2Connection and its received events."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.h2 = H2Connection(
            H2Configuration(client_side=False, header_encoding="utf-8", validate_outbound_headers=False)
        )
        self.events: list[h2e.Event] = []

    async def flush(self) -> None:
        await self.stream.send_all(self.h2.data_to_send())
        await trio.testing.wait_all_tasks_blocked()

    async def until(self, kind: type[h2e.Event]) -> h2e.Event:
        while not (found := [event for event in self.events if isinstance(event, kind)]):
            self.events += self.h2.receive_data(bytes(await self.stream.receive_some()))
            await self.flush()
        return found[-1]

    async def answer(self, *, headers=HEADERS, messages=(), trailers=OK) -> None:
        request = await self.until(h2e.RequestReceived)
        if headers:
            self.h2.send_headers(request.stream_id, headers, end_stream=not trailers)
        if messages:
            self.h2.send_data(request.stream_id, join_messages(messages))
        if trailers:
            self.h2.send_headers(request.stream_id, trailers, end_stream=True)
        await self.flush()


@pytest.fixture
async def ends(nursery: trio.Nursery) -> AsyncIterator[tuple[Channel, Far, ClientConnection]]:
    ours, theirs = trio.testing.memory_stream_pair()
    connection = ClientConnection(ours, Settings(), "far")
    nursery.start_soon(connection.run)
    far = Far(theirs)
    far.h2.initiate_connection()
    await far.flush()
    yield Channel(connection, "http"), far, connection
    assert not connection.calls


async def fault(channel: Channel, far: Far, **answer: object) -> tuple[Status, str | None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: far.answer(**answer))
        with pytest.raises(GRPCError) as caught:
            await channel.unary(PATH, Raw(b"x"), Raw)
    return caught.value.status, caught.value.message


async def test_what_a_request_looks_like(ends):
    channel, far, _ = ends
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: far.answer(messages=[b"reply"]))
        assert await channel.unary(PATH, Raw(b"x"), Raw, metadata={"x-a": "b", "x-bin": b"\0"}) == b"reply"
    names = dict((await far.until(h2e.RequestReceived)).headers)
    pseudo = {":method": "POST", ":scheme": "http", ":path": PATH, ":authority": "far"}
    usual = {"te": "trailers", "content-type": "application/grpc", "user-agent": "grpc-python-trio"}
    assert names == pseudo | usual | {"x-a": "b", "x-bin": "AA"}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"trailers": [("grpc-status", "5"), ("grpc-message", "n%C3%A4h")]}, (Status.NOT_FOUND, "näh")),
        ({"headers": [*HEADERS, ("grpc-status", "8")], "trailers": None}, (Status.RESOURCE_EXHAUSTED, "")),
        ({"trailers": [("grpc-status", "99")]}, (Status.UNKNOWN, "")),
        ({"trailers": [("grpc-status", "odd")]}, (Status.UNKNOWN, "")),
        ({"headers": [(":status", "503")], "trailers": None}, (Status.UNAVAILABLE, NO_STATUS + "503")),
        (
            {"headers": [(":status", "404")], "trailers": None},
            (Status.UNIMPLEMENTED, "no gRPC status, HTTP status 404"),
        ),
        ({"trailers": [("x", "y")]}, (Status.UNKNOWN, NO_STATUS + "200")),
        ({"messages": []}, (Status.INTERNAL, f"{PATH}: the server sent no reply")),
        ({"messages": [b"1", b"2"]}, (Status.INTERNAL, f"{PATH}: the server sent a second reply")),
        ({"messages": [b"\xff"]}, (Status.INTERNAL, "can't decode 1 bytes as Raw: a leading 0xFF")),
    ],
)
async def test_results(ends, answer, expected):
    assert await fault(*ends[:2], **answer) == expected


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (ErrorCodes.CANCEL, Status.CANCELLED),
        (ErrorCodes.REFUSED_STREAM, Status.UNAVAILABLE),
        (ErrorCodes.ENHANCE_YOUR_CALM, Status.RESOURCE_EXHAUSTED),
        (ErrorCodes.INTERNAL_ERROR, Status.INTERNAL),
        (0xABC, Status.INTERNAL),
    ],
)
async def test_resets(ends, code, status):
    channel, far, _ = ends
    async with channel.stream(PATH, Raw, Raw) as call:
        far.h2.reset_stream((await far.until(h2e.RequestReceived)).stream_id, code)
        await far.flush()
        for attempt in (call.receive, lambda: call.send(Raw(b"x")), call.wait_for_metadata):
            with pytest.raises(GRPCError) as caught:
                await attempt()
            assert caught.value.status is status


async def test_replies_before_a_status_come_first(ends):
    channel, far, _ = ends
    async with channel.stream(PATH, Raw, Raw) as call:
        await far.answer(messages=[b"1", b"2"], trailers=[("grpc-status", "10"), ("grpc-message", "late")])
        assert [await call.receive(), await call.receive()] == [b"1", b"2"]
        with pytest.raises(GRPCError, match="late"):
            await call.receive()


async def test_sending_to_a_call_that_has_ended(ends):
    channel, far, _ = ends
    async with channel.stream(PATH, Raw, Raw) as call:
        await far.answer()
        with pytest.raises(StreamTerminatedError, match="the server has ended the call"):
            await call.send(Raw(b"more"))
        assert await call.receive() is None
        assert (await far.until(h2e.StreamReset)).error_code == ErrorCodes.NO_ERROR


async def test_sending_after_the_end_is_our_mistake(ends):
    channel, far, _ = ends
    async with channel.stream(PATH, Raw, Raw) as call:
        await call.end()
        await call.end()
        with pytest.raises(ProtocolError, match="has ended"):
            await call.send(Raw(b"more"))
        await far.answer()


async def test_a_cancel_resets(ends):
    channel, far, connection = ends
    with trio.move_on_after(0):
        async with channel.stream(PATH, Raw, Raw) as call:
            await call.receive()
    assert not connection.calls
    async with channel.stream(PATH, Raw, Raw) as call:
        with trio.CancelScope() as scope:
            scope.cancel()
            await call.receive()
    assert (await far.until(h2e.StreamReset)).error_code == ErrorCodes.CANCEL


async def test_a_torn_message_is_reset_instead_of_ended(ends):
    channel, far, _ = ends
    async with channel.stream(PATH, Raw, Raw) as call:
        with trio.CancelScope() as scope:
            await far.until(h2e.RequestReceived)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call.send, Raw(b"x" * 100_000))
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        await call.end()
        assert (await far.until(h2e.StreamReset)).error_code == ErrorCodes.CANCEL


async def test_calls_wait_for_a_free_place(ends):
    channel, far, connection = ends
    far.h2.update_settings({3: 1})
    await far.flush()

    async def second() -> None:
        async with channel.stream(PATH, Raw, Raw):
            begun.set()

    begun = trio.Event()
    async with trio.open_nursery() as nursery:
        async with channel.stream(PATH, Raw, Raw):
            nursery.start_soon(second)
            await trio.testing.wait_all_tasks_blocked()
            assert not begun.is_set()
        await begun.wait()
    assert "open, 0 calls" in repr(connection)


async def test_goaway_lets_older_calls_end(ends):
    channel, far, connection = ends
    async with channel.stream(PATH, Raw, Raw) as first, channel.stream(PATH, Raw, Raw) as second:
        await far.until(h2e.RequestReceived)
        await far.stream.send_all(goaway(1, ErrorCodes.NO_ERROR))
        with pytest.raises(GRPCError, match="far: the server is shutting down"):
            await second.receive()
        far.h2.send_headers(1, HEADERS)
        far.h2.send_data(1, join_messages([b"still"]))
        far.h2.send_headers(1, OK, end_stream=True)
        await far.flush()
        assert [reply async for reply in first] == [b"still"]
        with pytest.raises(GRPCError, match="far: the server is shutting down"):
            await channel.unary(PATH, Raw(b""), Raw)
    assert "the server is shutting down, 0 calls" in repr(connection)


async def test_a_goaway_with_an_error_is_raised_in_the_call(ends):
    channel, far, _ = ends
    async with channel.stream(PATH, Raw, Raw) as call:
        await far.until(h2e.RequestReceived)
        await far.stream.send_all(goaway(1, ErrorCodes.ENHANCE_YOUR_CALM, b"too many resets"))
        await far.stream.aclose()
        with pytest.raises(GRPCError, match="ENHANCE_YOUR_CALM too many resets") as caught:
            await call.receive()
        assert caught.value.status is Status.UNAVAILABLE


async def test_a_lost_connection(ends):
    channel, far, _ = ends
    async with channel.stream(PATH, Raw, Raw) as call:
        await far.until(h2e.RequestReceived)
        await far.stream.aclose()
        for attempt in (call.receive, lambda: call.send(Raw(b"x")), lambda: channel.unary(PATH, Raw(b""), Raw)):
            with pytest.raises(GRPCError, match="far: the peer closed the connection") as caught:
                await attempt()
            assert caught.value.status is Status.UNAVAILABLE


async def test_two_senders_keep_their_messages_whole(ends):
    channel, far, _ = ends
    far.h2.increment_flow_control_window(10**6)
    async with channel.stream(PATH, Raw, Raw) as call, trio.open_nursery() as nursery:
        await far.until(h2e.RequestReceived)
        for letter in (b"a", b"b"):
            nursery.start_soon(call.send, Raw(letter * 50_000))
        got = b""
        while len(got) < 100_010:
            for event in far.h2.receive_data(bytes(await far.stream.receive_some())):
                if isinstance(event, h2e.DataReceived):
                    got += event.data
                    far.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            await far.flush()
        assert sorted(run[:1] for run in (got[5:50_005], got[50_010:])) == [b"a", b"b"]
        assert len(set(got[5:50_005])) == len(set(got[50_010:])) == 1
