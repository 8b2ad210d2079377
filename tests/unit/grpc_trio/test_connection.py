"""Lifecycle of a connection: concurrent calls, resets, loss, drain, floods, keepalive, unread input."""

from contextlib import suppress

import h2.exceptions
import pytest
import trio
import trio.testing
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from h2.errors import ErrorCodes
from hyperframe import frame as hf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.grpc_trio.support import Service, Wire, make_connection, messages_of, request_headers
from ttsw.grpc_trio import Settings
from ttsw.grpc_trio.frames import MAX_STREAM_ID

OK = (Status.OK, "")


async def test_calls_run_beside_each_other(connect, service):
    wire, connection = await connect()
    held = [await wire.begin("/test.Test/Hold", end=True) for _ in range(200)]
    echo = await wire.begin("/test.Test/Echo")
    for number in range(50):
        await wire.send(echo, b"%d" % number)
    await wire.send(echo, end=True)
    await wire.until(lambda: echo in wire.ended)
    assert messages_of(wire.data[echo]) == [b"%d" % number for number in range(50)]
    assert len(connection.calls) == 200
    service.release.set()
    await wire.until(lambda: wire.ended.issuperset(held))
    assert {wire.status(call) for call in held} == {OK}
    assert not connection.calls


async def test_a_reset_cancels_one_call_only(connect, service):
    wire, connection = await connect()
    first, second = await wire.begin("/test.Test/Hold"), await wire.begin("/test.Test/Hold", end=True)
    await wire.until(lambda: {first, second} <= set(wire.headers))
    await wire.reset(first)
    await trio.testing.wait_all_tasks_blocked()
    assert service.log == ["cancelled"]
    assert list(connection.calls) == [second]
    service.release.set()
    await wire.until(lambda: second in wire.ended)
    assert wire.status(second) == OK


async def test_a_lost_connection_cancels_its_calls(connect, service):
    wire, connection = await connect()
    for _ in range(3):
        await wire.begin("/test.Test/Hold")
    await wire.until(lambda: len(wire.headers) == 3)
    await wire.stream.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert service.log == ["cancelled"] * 3
    assert repr(connection) == "<ServerConnection ? the peer closed the connection, 0 calls, 0 bytes queued>"


async def test_one_call_too_many_is_refused_without_affecting_others(connect, service):
    wire, _ = await connect(Settings(max_concurrent_streams=2))
    wire.h2.remote_settings.update({3: 100})  # a client that ignores the limit
    wire.h2.remote_settings.acknowledge()
    calls = [await wire.begin("/test.Test/Hold", end=True) for _ in range(3)]
    await wire.until(lambda: calls[2] in wire.resets)
    assert wire.resets == {calls[2]: ErrorCodes.REFUSED_STREAM}
    service.release.set()
    await wire.until(lambda: wire.ended.issuperset(calls[:2]))


async def test_a_peer_can_not_make_our_header_table_grow(connect):
    wire, connection = await connect()
    wire.h2.update_settings({1: 2**30})
    await wire.flush()
    call = await wire.call("/test.Test/Unary", b"x")
    assert wire.status(call) == OK
    assert connection.h2.encoder.header_table_size == 4096


async def test_the_servers_end_gives_its_calls_a_status(service):
    pair = trio.testing.memory_stream_pair()
    connection = make_connection(service, pair[1])

    wire = Wire(pair[0])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run)
        await wire.start()
        call = await wire.begin("/test.Test/Hold", end=True)
        await wire.until(lambda: call in wire.headers)
        nursery.cancel_scope.cancel()
    await wire.until_eof()
    assert wire.status(call) == (Status.UNAVAILABLE, "the server is shutting down")
    assert wire.goaways[-1][1:] == (ErrorCodes.NO_ERROR, b"shutting down")


# ---- drain


async def test_a_drain_serves_what_began_and_refuses_the_rest(connect, service):
    wire, connection = await connect()
    first = await wire.begin("/test.Test/Hold", end=True)
    await wire.until(lambda: first in wire.headers)
    connection.drain()
    connection.drain()
    second = await wire.begin("/test.Test/Hold", end=True)  # before the client has read the GOAWAY
    await wire.until(lambda: len(wire.goaways) == 2)
    assert [goaway[:2] for goaway in wire.goaways] == [(MAX_STREAM_ID, 0), (second, 0)]
    third = await wire.begin("/test.Test/Hold", end=True)
    await wire.until(lambda: third in wire.resets)
    assert wire.resets[third] == ErrorCodes.REFUSED_STREAM
    assert "draining, 2 calls" in repr(connection)
    service.release.set()
    await wire.until_eof()
    assert {wire.status(first), wire.status(second)} == {OK}
    assert "drained, 0 calls" in repr(connection)


async def test_an_unused_connection_drains_at_once(connect):
    wire, connection = await connect()
    connection.drain()
    await wire.until_eof()
    assert wire.goaways[-1][1] == ErrorCodes.NO_ERROR


async def test_a_drain_waits_a_second_for_a_client_that_does_not_answer(connect, autojump_clock):
    wire, connection = await connect()
    began = trio.current_time()
    connection.drain()
    while not wire.eof:
        wire.eof = not await wire.stream.receive_some()
    assert trio.current_time() - began == pytest.approx(1.0)


@pytest.mark.parametrize("end", ["flood", "left"])
async def test_a_drain_of_a_connection_at_any_step_of_its_end(service, end):
    client, ours = trio.testing.memory_stream_pair()
    connection = make_connection(service, ours)
    wire, over = Wire(client), trio.Event()

    async def run() -> None:
        await connection.run()
        over.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await wire.start()
        if end == "flood":  # lingers before it closes
            await client.send_all(hf.SettingsFrame(0).serialize() * 100)
        else:
            await client.aclose()
        while not over.is_set():
            connection.draining = False  # as if not drained before
            if connection.reason:
                connection.drain()
            await trio.lowlevel.checkpoint()


async def test_a_connection_that_has_agreed_on_nothing_drains_at_once(service, nursery):
    pair = trio.testing.memory_stream_pair()
    connection = make_connection(service, pair[1])
    connection.drain()
    nursery.start_soon(connection.run)
    with trio.fail_after(0.5):
        while await pair[0].receive_some():
            pass


# ---- floods

PING = hf.PingFrame(0, opaque_data=b"12345678").serialize()
SETTINGS = hf.SettingsFrame(0).serialize()
FLOODS = {
    "ping": PING * 5000,
    "settings": SETTINGS * 100,
    "unknown": b"\0\0\1\xbb\0\0\0\0\1?" * 5000,
    "priority": hf.PriorityFrame(1).serialize() * 5000,
    "empty data": hf.DataFrame(1).serialize() * 500,
    "continuation": hf.HeadersFrame(3, data=b"x").serialize() + hf.ContinuationFrame(3, data=b"x").serialize() * 50,
    "reset": hf.RstStreamFrame(1, error_code=8).serialize() * 5000,
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
async def test_a_flood_ends_the_connection(connect, service, flood):
    wire, connection = await connect()
    await wire.begin("/test.Test/Hold")
    await wire.until(lambda: 1 in wire.headers)
    await wire.stream.send_all(flood)
    await wire.until_eof()
    assert wire.goaways[-1][1] == ErrorCodes.ENHANCE_YOUR_CALM
    assert wire.goaways[-1][2].startswith(b"too many")
    assert service.log == ["cancelled"]
    assert not connection.calls


async def test_rapid_resets_never_reach_a_handler(connect, service):
    wire, connection = await connect()
    for _ in range(2000):
        stream_id = wire.h2.get_next_available_stream_id()
        wire.h2.send_headers(stream_id, request_headers("/test.Test/Hold"))
        wire.h2.reset_stream(stream_id)
    await wire.flush()
    await wire.until_eof()
    assert wire.goaways[-1][1:] == (ErrorCodes.ENHANCE_YOUR_CALM, b"too many resets")
    assert not service.log
    assert not connection.calls


async def test_a_thousand_calls_cancelled_at_once_are_no_flood(connect, service):
    wire, connection = await connect()
    calls = [await wire.begin("/test.Test/Hold") for _ in range(1000)]
    await wire.until(lambda: len(wire.headers) == 1000)
    for call in calls:
        wire.h2.reset_stream(call)
    await wire.flush()
    await trio.testing.wait_all_tasks_blocked()
    assert service.log == ["cancelled"] * 1000
    assert "open, 0 calls" in repr(connection)


async def test_headers_far_too_large_end_the_connection(connect):
    wire, _ = await connect()
    await wire.begin("/test.Test/Unary", {f"x-{number}": "y" * 8000 for number in range(12)})
    await wire.until_eof()
    assert wire.goaways[-1][1] == ErrorCodes.ENHANCE_YOUR_CALM


@pytest.mark.parametrize(
    "junk", [b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\0" * 100]
)
async def test_another_protocol_is_closed_quietly(service, nursery, caplog, junk):
    caplog.set_level("INFO", "ttsw")
    client, ours = trio.testing.memory_stream_pair()
    nursery.start_soon(make_connection(service, ours).run)
    await client.send_all(junk)
    with trio.fail_after(2):
        while await client.receive_some():
            pass
    assert not caplog.records


@given(junk=st.binary(max_size=400), preface=st.booleans())
@settings(max_examples=60, deadline=None)
async def test_no_bytes_break_more_than_their_connection(junk, preface):
    client, ours = trio.testing.memory_stream_pair()
    service = Service()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(make_connection(service, ours).run)
        handshake = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SETTINGS
        await client.send_all(handshake + junk if preface else junk)
        await client.send_eof()
        while await client.receive_some():
            pass


frame_kinds = st.integers(0, 10)


@given(st.lists(st.tuples(frame_kinds, st.integers(0, 255), st.integers(0, 5), st.binary(max_size=30)), max_size=12))
@settings(max_examples=100, deadline=None)
async def test_no_frames_break_more_than_their_connection(frames):
    client, ours = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(make_connection(Service(), ours).run)
        await client.send_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SETTINGS)
        for kind, flags, stream_id, body in frames:
            await client.send_all(len(body).to_bytes(3, "big") + bytes([kind, flags, 0, 0, 0, stream_id]) + body)
        await client.send_eof()
        while await client.receive_some():
            pass


async def test_a_peer_that_never_reads_costs_bounded_memory(connect):
    wire, connection = await connect(Settings(max_pings_per_s=10**6), lockstep=True)

    async def ping() -> None:
        for _ in range(200):
            await wire.stream.send_all(PING * 400)

    with trio.move_on_after(0.5) as scope:
        await ping()
    assert scope.cancelled_caught  # the server no longer reads
    assert len(connection.out) < 5 * connection.settings.max_queued_bytes


# ---- keepalive


async def test_no_preface_in_time(service, nursery, autojump_clock):
    client, ours = trio.testing.memory_stream_pair()
    nursery.start_soon(make_connection(service, ours, Settings(preface_s=3)).run)
    await client.send_all(b"PRI * HTTP")
    began = trio.current_time()
    while await client.receive_some():
        pass
    assert trio.current_time() - began == pytest.approx(3)


async def test_keepalive_pings_a_silent_peer_and_then_gives_up(connect, service, autojump_clock):
    wire, _ = await connect(Settings(keepalive_s=30, keepalive_timeout_s=10))
    await wire.begin("/test.Test/Hold")
    began = trio.current_time()
    await wire.until(lambda: wire.pings == 2)  # h2 has answered the first one
    assert trio.current_time() - began == pytest.approx(60, abs=0.1)
    while await wire.stream.receive_some():
        pass
    assert trio.current_time() - began == pytest.approx(100, abs=0.1)
    assert service.log == ["cancelled"]


async def test_an_idle_connection_is_closed(connect, service, autojump_clock):
    wire, _ = await connect(Settings(idle_s=100, keepalive_s=40))
    began = trio.current_time()
    call = await wire.begin("/test.Test/Hold", end=True)
    await wire.until(lambda: wire.pings >= 5)
    service.release.set()
    await wire.until(lambda: call in wire.ended)
    ended = trio.current_time()
    assert ended - began == pytest.approx(200, abs=0.1)
    await wire.until_eof()
    assert trio.current_time() - ended == pytest.approx(100, abs=0.1)


# ---- unread input


UNREAD = Settings(max_message_bytes=60_000, max_unread_bytes=100_000)


def buffered_bytes(connection):
    return sum(call.inbox.buffered_bytes for call in connection.calls.values())


async def begin_message(wire, size, *, path="/test.Test/Unary"):
    """Begin a call with a message of 60 000 bytes, and send the first `size` of them."""
    call = await wire.begin(path)
    data = (bytes(1) + (60_000).to_bytes(4, "big") + bytes(size))[:size]
    for at in range(0, size, 16_000):
        wire.h2.send_data(call, data[at : at + 16_000])
    await wire.flush()
    return call


async def test_messages_without_an_end_cost_no_more_than_the_connection_may_hold(connect):
    wire, connection = await connect(UNREAD)
    calls = [await begin_message(wire, 20_000 + number) for number in range(20)]
    await wire.until(lambda: len(wire.ended) == 16)
    assert connection.unread_bytes == buffered_bytes(connection) <= 100_000
    for call in wire.ended:
        status, message = wire.status(call)
        assert status is Status.RESOURCE_EXHAUSTED
        assert "over 100000 bytes unread" in message
    assert wire.status(await wire.call("/test.Test/Unary", b"a healthy call")) == OK
    for call in set(calls) - wire.ended:
        await wire.reset(call)
    await trio.testing.wait_all_tasks_blocked()
    assert (connection.calls, connection.unread_bytes) == ({}, 0)


async def test_the_call_that_holds_most_ends_and_the_others_go_on(connect):
    wire, connection = await connect(UNREAD)
    small = [await wire.begin("/test.Test/Unary") for _ in range(3)]
    for call in small:
        wire.h2.send_data(call, bytes(1) + (10_000).to_bytes(4, "big") + bytes(5_000))
    large = [await begin_message(wire, 45_000), await begin_message(wire, 50_000)]
    await wire.until(lambda: large[1] in wire.ended)
    for call in small:
        wire.h2.send_data(call, bytes(5_000), end_stream=True)
    await wire.flush()
    await wire.until(lambda: wire.ended.issuperset(small))
    assert {wire.status(call) for call in small} == {OK}
    assert list(connection.calls) == large[:1]


async def test_a_reader_far_behind_gets_an_error_on_its_next_read(connect, service):
    statuses = []

    async def body(stream):
        await service.release.wait()
        with pytest.raises(GRPCError) as caught:
            await stream.recv_message()
        statuses.append(caught.value.status)
        raise caught.value

    service.body = body
    wire, connection = await connect(Settings(max_unread_bytes=30_000))
    call = await wire.begin("/test.Test/Test")
    for _ in range(4):
        await wire.send(call, bytes(10_000))
    await trio.testing.wait_all_tasks_blocked()
    assert connection.unread_bytes == 0
    service.release.set()
    await wire.until(lambda: call in wire.ended)
    assert statuses == [Status.RESOURCE_EXHAUSTED]
    assert wire.status(call)[0] is Status.RESOURCE_EXHAUSTED


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 9_000), st.sampled_from("sdre")), max_size=30))
def test_what_is_unread_is_the_sum_of_what_the_calls_hold(steps):
    async def main():
        service, pair = Service(), trio.testing.memory_stream_pair()
        connection = make_connection(service, pair[1], Settings(max_unread_bytes=20_000))
        wire, calls = Wire(pair[0]), {}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.run)
            await wire.start()
            for number, size, action in steps:
                call = calls.get(number)
                if call is None or call in wire.ended | wire.resets.keys():
                    path = "/test.Test/Echo" if number % 2 else "/test.Test/Hold"
                    call = calls[number] = await wire.begin(path)
                with suppress(h2.exceptions.ProtocolError):
                    if action == "s":
                        await wire.send(call, bytes(size))
                    elif action == "d":
                        wire.h2.send_data(call, bytes(1) + size.to_bytes(4, "big") + bytes(size // 2))
                        await wire.flush()
                    else:
                        await wire.reset(call)
                        del calls[number]
                await trio.testing.wait_all_tasks_blocked()
                assert connection.unread_bytes == buffered_bytes(connection) <= 20_000
            nursery.cancel_scope.cancel()

    trio.run(main)


async def test_header_lists_from_the_table_are_charged_by_what_they_decode_to(connect, service):
    wire, connection = await connect(Settings(max_header_bytes_per_s=64 * 1024, max_header_list_bytes=16 * 1024))
    names = [*request_headers("/test.Test/Hold"), *[("x-filler", "y" * 3_000)] * 4]
    for _ in range(40):
        wire.h2.send_headers(wire.h2.get_next_available_stream_id(), names)
    await wire.flush()
    await wire.until_eof()
    assert wire.goaways[-1][1:] == (ErrorCodes.ENHANCE_YOUR_CALM, b"too many header bytes")
    assert len(service.log) < 128 * 1024 // 12_000 + 1, "only calls within the burst are started"
    assert connection.unread_bytes == 0
