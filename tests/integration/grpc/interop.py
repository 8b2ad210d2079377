"""gRPC's interoperability service, by hand: betterproto2 messages on our side, bytes on the client's.

The messages have the field numbers of grpc/testing/messages.proto as far as the tests need them.
"""

# ruff: noqa: RUF009 - betterproto2 declares fields so

from dataclasses import dataclass

import betterproto2
import trio
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError

from ttsw.grpc_trio import ServerStream

ECHO, ECHO_BIN = "x-grpc-test-echo-initial", "x-grpc-test-echo-trailing-bin"
SERVICE = "/grpc.testing.TestService/"


@dataclass(eq=False, repr=False)
class Empty(betterproto2.Message):
    pass


@dataclass(eq=False, repr=False)
class Payload(betterproto2.Message):
    body: "bytes" = betterproto2.field(2, betterproto2.TYPE_BYTES)


@dataclass(eq=False, repr=False)
class EchoStatus(betterproto2.Message):
    code: "int" = betterproto2.field(1, betterproto2.TYPE_INT32)
    message: "str" = betterproto2.field(2, betterproto2.TYPE_STRING)


@dataclass(eq=False, repr=False)
class Request(betterproto2.Message):
    """SimpleRequest, StreamingInputCallRequest and StreamingOutputCallRequest in one."""

    response_size: "int" = betterproto2.field(1, betterproto2.TYPE_INT32)
    count: "int" = betterproto2.field(2, betterproto2.TYPE_INT32)
    payload: "Payload | None" = betterproto2.field(3, betterproto2.TYPE_MESSAGE, optional=True)
    interval_us: "int" = betterproto2.field(4, betterproto2.TYPE_INT32)
    status: "EchoStatus | None" = betterproto2.field(7, betterproto2.TYPE_MESSAGE, optional=True)


@dataclass(eq=False, repr=False)
class Response(betterproto2.Message):
    payload: "Payload | None" = betterproto2.field(1, betterproto2.TYPE_MESSAGE, optional=True)
    total: "int" = betterproto2.field(2, betterproto2.TYPE_INT32)


class TestService:
    """What grpc/testing/test.proto calls TestService."""

    __test__ = False

    def __init__(self) -> None:
        self.cancelled = trio.Event()
        self.running = 0

    async def empty(self, stream: ServerStream[Empty, Empty]) -> None:
        await stream.recv_message()
        await stream.send_message(Empty())

    async def unary(self, stream: ServerStream[Request, Response]) -> None:
        request = await stream.recv_message()
        assert request is not None
        await _echo_metadata(stream)
        _raise_asked(request)
        await stream.send_message(Response(payload=Payload(body=bytes(request.response_size))))

    async def input(self, stream: ServerStream[Request, Response]) -> None:
        total = 0
        with self._counted():
            async for request in stream:
                total += len(request.payload.body) if request.payload else 0
        await stream.send_message(Response(total=total))

    async def output(self, stream: ServerStream[Request, Response]) -> None:
        request = await stream.recv_message()
        assert request is not None
        with self._counted():
            for number in range(request.count):
                await stream.send_message(Response(payload=Payload(body=bytes(request.response_size)), total=number))
                if request.interval_us:
                    await trio.sleep(request.interval_us / 1e6)

    async def both(self, stream: ServerStream[Request, Response]) -> None:
        await _echo_metadata(stream)
        with self._counted():
            async for request in stream:
                _raise_asked(request)
                if request.interval_us:
                    await trio.sleep(request.interval_us / 1e6)
                await stream.send_message(Response(payload=Payload(body=bytes(request.response_size))))

    def _counted(self) -> "_Counted":
        return _Counted(self)

    def __mapping__(self) -> dict[str, Handler]:
        return {
            SERVICE + "EmptyCall": Handler(self.empty, Cardinality.UNARY_UNARY, Empty, Empty),
            SERVICE + "UnaryCall": Handler(self.unary, Cardinality.UNARY_UNARY, Request, Response),
            SERVICE + "StreamingInputCall": Handler(self.input, Cardinality.STREAM_UNARY, Request, Response),
            SERVICE + "StreamingOutputCall": Handler(self.output, Cardinality.UNARY_STREAM, Request, Response),
            SERVICE + "FullDuplexCall": Handler(self.both, Cardinality.STREAM_STREAM, Request, Response),
        }


class _Counted:
    """Counts handlers at work, and notes it when one is cancelled."""

    def __init__(self, service: TestService) -> None:
        self._service = service

    def __enter__(self) -> None:
        self._service.running += 1

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._service.running -= 1
        if kind is not None and issubclass(kind, trio.Cancelled):
            self._service.cancelled.set()


async def _echo_metadata(stream: ServerStream[Request, Response]) -> None:
    assert stream.metadata is not None
    if ECHO in stream.metadata:
        await stream.send_initial_metadata(metadata={ECHO: stream.metadata[ECHO]})
    if ECHO_BIN in stream.metadata:
        value = stream.metadata[ECHO_BIN]
        finish = stream.send_trailing_metadata

        async def with_trailer(**kinds: object) -> None:
            await finish(**kinds | {"metadata": {ECHO_BIN: value}})

        stream.send_trailing_metadata = with_trailer


def _raise_asked(request: Request) -> None:
    if request.status is not None:
        raise GRPCError(Status(request.status.code), request.status.message)
