"""A server on a loopback port, and gRPC's own client in threads."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import pytest
import trio

from tests.integration.grpc.interop import SERVICE, Request, Response, TestService
from ttsw.grpc_trio import Server, serve


@pytest.fixture
def service() -> TestService:
    return TestService()


@pytest.fixture
async def server(service: TestService, nursery: trio.Nursery) -> AsyncIterator[Server]:
    running = await nursery.start(serve, [service])
    yield running
    await until(lambda: not running.calls)
    assert "0 calls" in repr(running)


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel("{}:{}".format(*server.addresses[0])) as opened:
        yield opened


class Stub:
    """gRPC's client for the interop service."""

    def __init__(self, channel: grpc.Channel) -> None:
        def method(kind: Callable[..., Any], name: str, reply: Any = Response) -> Any:
            return kind(SERVICE + name, request_serializer=bytes, response_deserializer=reply.parse)

        self.empty = method(channel.unary_unary, "EmptyCall")
        self.unary = method(channel.unary_unary, "UnaryCall")
        self.input = method(channel.stream_unary, "StreamingInputCall")
        self.output = method(channel.unary_stream, "StreamingOutputCall")
        self.both = method(channel.stream_stream, "FullDuplexCall")
        self.unknown_method = method(channel.unary_unary, "UnimplementedCall")
        self.unknown_service = channel.unary_unary(
            "/grpc.testing.UnimplementedService/UnimplementedCall",
            request_serializer=bytes,
            response_deserializer=Request.parse,
        )


@pytest.fixture
def stub(channel: grpc.Channel) -> Stub:
    return Stub(channel)


async def in_thread(work: Callable[[], Any], *, limit_s: float = 20) -> Any:
    """Run a blocking client in a thread; it brings its own deadlines."""
    with trio.fail_after(limit_s):
        return await trio.to_thread.run_sync(work)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another process or thread will bring about."""
    with trio.fail_after(10):
        while True:  # those set no trio.Event
            if condition():
                return
            await trio.sleep(0.005)
