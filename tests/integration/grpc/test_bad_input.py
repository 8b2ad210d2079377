"""Peers that mean no good: each gets its answer, while a healthy stream misses nothing."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from grpclib.const import Status
from h2.errors import ErrorCodes
from hyperframe import frame as hf

from tests.integration.grpc.conftest import until
from tests.integration.grpc.interop import SERVICE, Request, Response, TestService
from tests.unit.grpc_trio.support import Wire, request_headers
from ttsw.grpc_trio import Server, Settings, open_channel, serve

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@pytest.fixture
async def server(nursery: trio.Nursery) -> Server:
    settings = Settings(preface_s=0.3)
    return await nursery.start(lambda task_status: serve([TestService()], settings=settings, task_status=task_status))


@asynccontextmanager
async def healthy(server: Server) -> AsyncIterator[list[int]]:
    """Keep a stream going on a connection of its own; at the end nothing is missing, and it still goes on."""
    numbers: list[int] = []

    async def listen() -> None:
        async with (
            open_channel(*server.addresses[0]) as channel,
            channel.stream(SERVICE + "StreamingOutputCall", Request, Response) as call,
        ):
            await call.send(Request(response_size=1925, count=10**6, interval_us=2000))
            async for reply in call:
                numbers.append(reply.total)  # noqa: PERF401 - others look at it meanwhile

    async def more(count: int) -> None:
        goal = len(numbers) + count
        await until(lambda: len(numbers) >= goal)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await more(5)
        yield numbers
        await more(5)
        nursery.cancel_scope.cancel()
    assert numbers == list(range(len(numbers)))
    assert not [connection for connection in server.connections if connection.calls]


async def connect(server: Server) -> Wire:
    wire = Wire(await trio.open_tcp_stream(*server.addresses[0]))
    with trio.fail_after(5):
        await wire.start()
    return wire


async def read_to_the_end(stream: trio.SocketStream) -> bytes:
    data = b""
    with trio.fail_after(10), suppress(trio.BrokenResourceError):
        while more := await stream.receive_some():
            data += more
    return data


@pytest.mark.parametrize(
    "junk",
    [
        random.Random(1).randbytes(5000),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /x HTTP/1.1\r\nContent-Length: 10000000\r\n\r\n" + bytes(200_000),
        PREFACE + random.Random(2).randbytes(5000),
        PREFACE[:10],  # and then silence
        b"",
    ],
    ids=["random bytes", "HTTP/1 get", "HTTP/1 post", "random frames", "half a preface", "silence"],
)
async def test_no_http2(server, caplog, junk):
    caplog.set_level("WARNING")
    async with healthy(server):
        stream = await trio.open_tcp_stream(*server.addresses[0])
        with suppress(trio.BrokenResourceError):
            await stream.send_all(junk)
        await read_to_the_end(stream)
        await stream.aclose()
    assert not caplog.records


async def test_ten_thousand_rapid_resets(server):
    async with healthy(server):
        wire = await connect(server)
        for _ in range(10_000):
            stream_id = wire.h2.get_next_available_stream_id()
            wire.h2.send_headers(stream_id, request_headers(SERVICE + "StreamingInputCall"))
            wire.h2.reset_stream(stream_id)
        await flood(wire, wire.h2.data_to_send(), b"too many resets")


FLOODS = {
    "PING": (hf.PingFrame(0, opaque_data=b"12345678").serialize() * 100_000, b"too many PING"),
    "SETTINGS": (hf.SettingsFrame(0, settings={4: 65535}).serialize() * 10_000, b"too many SETTINGS"),
    "CONTINUATION": (
        hf.HeadersFrame(1, data=b"x").serialize() + hf.ContinuationFrame(1, data=b"x").serialize() * 10_000,
        b"too many CONTINUATION",
    ),
    "empty DATA": (hf.DataFrame(1).serialize() * 10_000, b"too many empty DATA"),
}


@pytest.mark.parametrize(("data", "reason"), FLOODS.values(), ids=FLOODS)
async def test_floods(server, data, reason):
    async with healthy(server):
        await flood(await connect(server), data, reason)


async def flood(wire: Wire, data: bytes, reason: bytes) -> None:
    async def send() -> None:
        with suppress(trio.BrokenResourceError):
            await wire.stream.send_all(data)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        with trio.fail_after(10):
            await wire.until(lambda: bool(wire.goaways))
        nursery.cancel_scope.cancel()
    assert wire.goaways[0][1] is ErrorCodes.ENHANCE_YOUR_CALM
    assert wire.goaways[0][2].startswith(reason)
    await wire.stream.aclose()


@pytest.mark.parametrize("method", ["UnaryCall", "StreamingInputCall"])
async def test_a_message_of_100_mb(server, method):
    async with healthy(server):
        wire = await connect(server)
        call = await wire.begin(SERVICE + method)
        wire.h2.send_data(call, b"\0" + (100 * 2**20).to_bytes(4, "big") + bytes(10_000))
        await wire.flush()
        with trio.fail_after(5):
            await wire.until(lambda: call in wire.resets)
        status, message = wire.status(call)
        assert status is Status.RESOURCE_EXHAUSTED
        assert message == "a message of 104857600 bytes exceeds the limit of 4194304 bytes"
        await wire.stream.aclose()


async def test_headers_too_large(server):
    async with healthy(server):
        wire = await connect(server)
        call = await wire.call(SERVICE + "EmptyCall", b"", extra={"x-long": "x" * 30_000})
        assert wire.status(call)[0] is Status.RESOURCE_EXHAUSTED
        await wire.begin(SERVICE + "EmptyCall", {f"x-{number}": "y" * 8000 for number in range(12)})
        with trio.fail_after(5):
            await wire.until_eof()
        assert wire.goaways[0][1] is ErrorCodes.ENHANCE_YOUR_CALM
        await wire.stream.aclose()


async def test_a_client_that_reads_nothing_costs_bounded_memory(server):
    async with healthy(server):
        wire = await connect(server)
        wire.h2.increment_flow_control_window(2**30)
        calls = []
        for _ in range(50):
            calls.append(wire.h2.get_next_available_stream_id())
            wire.h2.send_headers(calls[-1], request_headers(SERVICE + "StreamingOutputCall"))
            wire.h2.increment_flow_control_window(2**30, calls[-1])
            request = bytes(Request(response_size=1925, count=10**6))
            wire.h2.send_data(calls[-1], b"\0" + len(request).to_bytes(4, "big") + request, end_stream=True)
        await wire.flush()
        await trio.sleep(0.3)
        assert all(len(connection.out) < 200_000 for connection in server.connections)
        await wire.stream.aclose()
        await until(lambda: len(server.connections) == 1)
