"""Request handling from headers to status, observed by a raw client."""

import logging

import pytest
import trio
import trio.testing
from grpclib.const import Status
from grpclib.events import RecvRequest, SendInitialMetadata, SendTrailingMetadata
from grpclib.exceptions import GRPCError

from tests.unit.grpc_trio.support import messages_of
from ttsw.grpc_trio import Settings


async def test_a_unary_call(connect):
    wire, connection = await connect()
    call = await wire.call("/test.Test/Unary", b"hello")
    assert messages_of(wire.data[call]) == [b"hello"]
    assert wire.headers[call] == {":status": "200", "content-type": "application/grpc+proto"}
    assert wire.trailers[call] == {"grpc-status": "0"}
    assert "open, 0 calls, 0 bytes queued" in repr(connection)


@pytest.mark.parametrize(
    ("extra", "http", "status", "message"),
    [
        ({":path": "/test.Test/Nope"}, "200", Status.UNIMPLEMENTED, "unknown method '/test.Test/Nope'"),
        ({":path": "/no.Service/Unary"}, "200", Status.UNIMPLEMENTED, "unknown method '/no.Service/Unary'"),
        ({":path": ""}, "200", Status.UNIMPLEMENTED, "unknown method ''"),
        ({":method": "GET"}, "405", Status.UNIMPLEMENTED, "gRPC requires the method POST"),
        ({"content-type": "text/html"}, "415", Status.UNKNOWN, "unsupported content-type 'text/html'"),
        ({"content-type": ""}, "415", Status.UNKNOWN, "unsupported content-type ''"),
        ({"content-type": "application/grpc+json"}, "415", Status.UNKNOWN, "unsupported content-type"),
        ({"te": ""}, "400", Status.UNKNOWN, 'the header "te: trailers" is missing'),
        ({"grpc-encoding": "gzip"}, "200", Status.UNIMPLEMENTED, "unsupported grpc-encoding 'gzip'"),
        ({"grpc-timeout": "soon"}, "200", Status.INTERNAL, "bad request header: Invalid timeout: soon"),
        ({"grpc-timeout": "9" * 400 + "m"}, "200", Status.INTERNAL, "bad request header"),
        ({"x-bin": "a"}, "200", Status.INTERNAL, "bad request header"),
        ({"x-long": "x" * 20_000}, "200", Status.RESOURCE_EXHAUSTED, "headers exceed 16384 bytes"),
    ],
)
async def test_a_request_that_is_refused(connect, extra, http, status, message):
    wire, connection = await connect()
    call = await wire.begin("/test.Test/Unary", extra, end=True)
    await wire.until(lambda: call in wire.ended)
    got = wire.status(call)
    assert (wire.headers[call][":status"], got[0]) == (http, status)
    assert got[1].startswith(message)
    assert not connection.calls
    assert messages_of(wire.data[await wire.call("/test.Test/Unary", b"next")]) == [b"next"]


async def test_an_unsupported_encoding_lists_the_supported_ones(connect):
    wire, _ = await connect()
    call = await wire.call("/test.Test/Unary", b"", extra={"grpc-encoding": "gzip"})
    assert wire.headers[call]["grpc-accept-encoding"] == "identity"


@pytest.mark.parametrize("kind", ["application/grpc", "application/grpc+proto", "application/grpc; charset=utf-8"])
async def test_accepted_content_types(connect, kind):
    wire, _ = await connect()
    call = await wire.call("/test.Test/Unary", b"x", extra={"content-type": kind, "grpc-encoding": "identity"})
    assert wire.status(call)[0] is Status.OK


async def test_a_status_message_is_percent_encoded(connect):
    wire, _ = await connect()
    assert wire.status(await wire.call("/test.Test/Status", b"")) == (Status.NOT_FOUND, "n%C3%A4h: 100 %25%0A")


async def test_spaces_around_a_status_message_are_dropped(connect, service):
    async def body(_stream):
        raise GRPCError(Status.ABORTED, "  spaced  ")

    service.body = body
    wire, _ = await connect()
    assert wire.status(await wire.call("/test.Test/Test")) == (Status.ABORTED, "spaced")


async def test_a_failing_handler_is_logged_without_details_for_the_client(connect, caplog):
    wire, _ = await connect()
    assert wire.status(await wire.call("/test.Test/Boom", b"")) == (Status.UNKNOWN, "Internal Server Error")
    assert "/test.Test/Boom: handler failed" in caplog.text
    assert "a secret" in caplog.text
    assert messages_of(wire.data[await wire.call("/test.Test/Unary", b"next")]) == [b"next"]


async def test_a_handler_without_a_reply_is_an_error(connect, caplog):
    wire, _ = await connect()
    assert wire.status(await wire.call("/test.Test/Silent", b"x")) == (Status.UNKNOWN, "Internal Server Error")
    assert "returned without a reply" in caplog.text


async def test_bytes_that_are_no_message(connect, caplog):
    caplog.set_level(logging.INFO, "ttsw")
    wire, _ = await connect()
    status, message = wire.status(await wire.call("/test.Test/Unary", b"\xff\xff"))
    assert (status, message) == (Status.INTERNAL, "can't decode 2 bytes as Raw: a leading 0xFF")
    assert not caplog.records


async def test_a_unary_request_without_a_message(connect):
    wire, _ = await connect()
    assert wire.status(await wire.call("/test.Test/Unary")) == (Status.INTERNAL, "the request carries no message")


async def test_an_error_out_of_a_nursery_is_still_its_status(connect, service):
    async def body(_stream):
        async with trio.open_nursery():
            raise GRPCError(Status.ABORTED, "from within")

    service.body = body
    wire, _ = await connect()
    assert wire.status(await wire.call("/test.Test/Test")) == (Status.ABORTED, "from within")


async def test_a_status_beside_another_error_is_that_error(connect, service, caplog):
    async def body(_stream):
        raise ExceptionGroup("two", [GRPCError(Status.ABORTED, "a"), ValueError("b")])

    service.body = body
    wire, _ = await connect()
    assert wire.status(await wire.call("/test.Test/Test")) == (Status.UNKNOWN, "Internal Server Error")
    assert "ValueError: b" in caplog.text


async def test_a_handler_that_fails_while_it_is_cancelled_costs_only_its_call(connect, service, caplog):
    async def body(stream):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await service.release.wait()
            finally:
                raise ValueError("while cleaning up")

    service.body = body
    wire, connection = await connect()
    other = await wire.begin("/test.Test/Echo")
    late = await wire.begin("/test.Test/Test", {"grpc-timeout": "20m"})
    await wire.until(lambda: late in wire.ended)
    assert wire.status(late)[0] is Status.DEADLINE_EXCEEDED
    gone = await wire.begin("/test.Test/Test")
    await trio.testing.wait_all_tasks_blocked()
    await wire.reset(gone)
    await wire.send(other, b"still here", end=True)
    await wire.until(lambda: other in wire.ended)
    assert messages_of(wire.data[other]) == [b"still here"]
    assert caplog.text.count("ValueError: while cleaning up") == 2
    assert "open, 0 calls" in repr(connection)


async def test_metadata_there_and_back(connect, service):
    async def body(stream):
        seen.update(stream.metadata)
        assert stream.user_agent == "tester"
        assert stream.peer.addr() is None
        assert stream.peer.cert() is None
        await stream.send_initial_metadata(metadata={"x-first": "1", "x-first-bin": b"\x00\xff"})
        await stream.send_trailing_metadata(metadata={"x-last": "2"})

    seen: dict[str, object] = {}
    service.body = body
    wire, _ = await connect()
    call = await wire.call("/test.Test/Test", extra={"user-agent": "tester", "x-a": "b", "x-b-bin": "AP8"})
    assert seen == {"x-a": "b", "x-b-bin": b"\x00\xff"}
    assert wire.headers[call]["x-first-bin"] == "AP8"
    assert wire.trailers[call] == {"grpc-status": "0", "x-last": "2"}


async def test_events_are_dispatched(connect, service):
    async def note(event):
        seen.append(type(event).__name__)

    seen: list[str] = []
    wire, connection = await connect()
    for kind in (RecvRequest, SendInitialMetadata, SendTrailingMetadata):
        connection._router._dispatch.add_listener(kind, note)
    await wire.call("/test.Test/Unary", b"x")
    assert seen == ["RecvRequest", "SendInitialMetadata", "SendTrailingMetadata"]


async def test_a_deadline_cancels_the_handler_and_is_the_status(connect, service, autojump_clock):
    wire, connection = await connect()
    began = trio.current_time()
    call = await wire.begin("/test.Test/Hold", {"grpc-timeout": "5S"})
    await wire.until(lambda: call in wire.trailers)
    assert wire.status(call)[0] is Status.DEADLINE_EXCEEDED
    assert service.log == ["cancelled"]
    assert trio.current_time() - began == pytest.approx(5, abs=0.1)
    await wire.until(lambda: call in wire.resets)
    assert not connection.calls


async def test_a_handler_sees_its_deadline(connect, service):
    async def body(stream):
        seen.append(stream.deadline.time_remaining())

    seen: list[float] = []
    service.body = body
    wire, _ = await connect()
    await wire.call("/test.Test/Test", extra={"grpc-timeout": "90S"})
    assert 80 < seen[0] <= 90


async def test_a_server_that_ends_early_stops_the_sender(connect, service):
    async def body(_stream):
        raise GRPCError(Status.FAILED_PRECONDITION, "no more")

    service.body = body
    wire, _ = await connect()
    call = await wire.begin("/test.Test/Test")
    await wire.until(lambda: call in wire.resets)
    assert wire.status(call)[0] is Status.FAILED_PRECONDITION
    assert wire.resets[call] == 0


async def test_a_handler_may_cancel_its_call(connect, service):
    async def body(stream):
        await stream.cancel()

    service.body = body
    wire, connection = await connect()
    call = await wire.begin("/test.Test/Test")
    await wire.until(lambda: call in wire.resets)
    assert wire.resets[call] == 8
    assert not connection.calls


async def test_a_message_over_the_limit(connect):
    wire, _ = await connect(Settings(max_message_bytes=10))
    assert wire.status(await wire.call("/test.Test/Unary", b"x" * 10))[0] is Status.OK
    status, message = wire.status(await wire.call("/test.Test/Unary", b"x" * 11))
    assert (status, message) == (Status.RESOURCE_EXHAUSTED, "a message of 11 bytes exceeds the limit of 10 bytes")
