"""gRPC's interoperability tests (grpc/doc/interop-test-descriptions.md), with gRPC's C core as the client."""

import queue
import threading
from collections.abc import Iterator

import grpc
import pytest
import trio

from tests.integration.grpc.conftest import in_thread, until
from tests.integration.grpc.interop import ECHO, ECHO_BIN, EchoStatus, Empty, Payload, Request

LONG_S = 15
SPECIAL = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"


def asking(size: int) -> Request:
    return Request(response_size=size, payload=Payload(body=bytes(size)))


class Sender:
    """An iterator of requests that the test feeds."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Request | None] = queue.Queue()

    def send(self, request: Request | None) -> None:
        self._queue.put(request)

    def __iter__(self) -> Iterator[Request]:
        return iter(self._queue.get, None)


async def test_empty_unary(stub):
    def work():
        return stub.empty(Empty(), timeout=LONG_S)

    assert bytes(await in_thread(work)) == b""


async def test_large_unary(stub):
    def work():
        request = Request(response_size=314_159, payload=Payload(body=bytes(271_828)))
        return stub.unary(request, timeout=LONG_S)

    assert (await in_thread(work)).payload.body == bytes(314_159)


async def test_client_streaming(stub):
    sizes = [27_182, 8, 1_828, 45_904]

    def work():
        return stub.input((asking(size) for size in sizes), timeout=LONG_S)

    assert (await in_thread(work)).total == sum(sizes)


async def test_server_streaming(stub):
    def work():
        return [reply.total for reply in stub.output(Request(response_size=31_415, count=50), timeout=LONG_S)]

    assert await in_thread(work) == list(range(50))


async def test_ping_pong(stub):
    def work():
        sender, sizes = Sender(), []
        call = stub.both(iter(sender), timeout=LONG_S)
        for size in (31_415, 9, 2_653, 58_979):
            sender.send(asking(size))
            sizes.append(len(next(call).payload.body))
        sender.send(None)
        return sizes, list(call), call.code()

    assert await in_thread(work) == ([31_415, 9, 2_653, 58_979], [], grpc.StatusCode.OK)


async def test_empty_stream(stub):
    def work():
        call = stub.both(iter(()), timeout=LONG_S)
        return list(call), call.code()

    assert await in_thread(work) == ([], grpc.StatusCode.OK)


async def test_custom_metadata(stub):
    metadata = ((ECHO, "test_initial_metadata_value"), (ECHO_BIN, b"\xab\xab\xab"))

    def unary():
        _, call = stub.unary.with_call(asking(1), timeout=LONG_S, metadata=metadata)
        return dict(call.initial_metadata()), dict(call.trailing_metadata())

    def both():
        call = stub.both(iter([asking(1)]), timeout=LONG_S, metadata=metadata)
        list(call)
        return dict(call.initial_metadata()), dict(call.trailing_metadata())

    for work in (unary, both):
        initial, trailing = await in_thread(work)
        assert initial[ECHO] == "test_initial_metadata_value"
        assert trailing[ECHO_BIN] == b"\xab\xab\xab"


@pytest.mark.parametrize("message", ["test status message", SPECIAL], ids=["plain", "special_status_message"])
async def test_status_code_and_message(stub, message):
    request = Request(status=EchoStatus(code=2, message=message))

    def unary():
        with pytest.raises(grpc.RpcError) as caught:
            stub.unary(request, timeout=LONG_S)
        return caught.value.code(), caught.value.details()

    def both():
        with pytest.raises(grpc.RpcError) as caught:
            list(stub.both(iter([request]), timeout=LONG_S))
        return caught.value.code(), caught.value.details()

    assert await in_thread(unary) == (grpc.StatusCode.UNKNOWN, message)
    assert await in_thread(both) == (grpc.StatusCode.UNKNOWN, message)


async def test_unimplemented(stub):
    def work():
        codes = []
        for method in (stub.unknown_method, stub.unknown_service):
            with pytest.raises(grpc.RpcError) as caught:
                method(Empty(), timeout=LONG_S)
            codes.append(caught.value.code())
        return codes

    assert await in_thread(work) == [grpc.StatusCode.UNIMPLEMENTED] * 2


async def test_cancel_after_begin(stub, service):
    def work():
        call = stub.input.future(iter(Sender()), timeout=LONG_S)
        call.cancel()
        return call.code()

    assert await in_thread(work) is grpc.StatusCode.CANCELLED
    await until(lambda: not service.running)


async def test_cancel_after_first_response(stub, service):
    def work():
        sender = Sender()
        call = stub.both(iter(sender), timeout=LONG_S)
        sender.send(asking(31_415))
        next(call)
        call.cancel()
        sender.send(None)
        return call.code()

    assert await in_thread(work) is grpc.StatusCode.CANCELLED
    await service.cancelled.wait()
    assert not service.running


async def test_timeout_on_sleeping_server(stub, service):
    def work():
        sender = Sender()
        call = stub.both(iter(sender), timeout=0.05)
        sender.send(Request(response_size=1, interval_us=5_000_000))
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
        sender.send(None)
        return caught.value.code()

    assert await in_thread(work) is grpc.StatusCode.DEADLINE_EXCEEDED
    await service.cancelled.wait()
    assert not service.running


async def test_a_thousand_calls_on_one_connection(stub, server):
    def work():
        def requests():
            yield asking(10)
            release.wait()

        release = threading.Event()
        calls = [stub.both(requests(), timeout=LONG_S) for _ in range(1000)]
        replies = [len(next(call).payload.body) for call in calls]
        at_once = server.calls
        release.set()
        return sum(replies), at_once, [list(call) for call in calls] == [[]] * 1000

    assert await in_thread(work, limit_s=40) == (10_000, 1000, True)
    assert len(server.connections) == 1


async def test_a_slow_reader_gets_every_message(stub):
    def work():
        numbers = []
        for reply in stub.output(Request(response_size=1925, count=1000), timeout=LONG_S):
            numbers.append(reply.total)
            if len(numbers) % 100 == 0:
                threading.Event().wait(0.02)
        return numbers

    assert await in_thread(work) == list(range(1000))


async def test_a_drain_lets_the_stream_end_and_refuses_the_next(stub, server):
    def work():
        call = stub.output(Request(response_size=1925, count=50, interval_us=2000), timeout=LONG_S)
        numbers = [next(call).total]
        drain()
        numbers += [reply.total for reply in call]
        with pytest.raises(grpc.RpcError) as caught:
            stub.empty(Empty(), timeout=LONG_S)
        return numbers, caught.value.code()

    token = trio.lowlevel.current_trio_token()

    def drain():
        trio.from_thread.run_sync(server.drain, trio_token=token)

    assert await in_thread(work) == (list(range(50)), grpc.StatusCode.UNAVAILABLE)
    await until(lambda: not server.connections)
