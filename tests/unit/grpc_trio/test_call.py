"""Flow control, bounded memory, cancellation, and equal output of both ways of writing DATA."""

import random

import pytest
import trio
import trio.testing
from grpclib.const import Status
from grpclib.exceptions import StreamTerminatedError
from h2.errors import ErrorCodes
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.grpc_trio.support import Raw, Service, Wire, make_connection, messages_of, split_frames
from ttsw.grpc_trio import ServerStream, Settings
from ttsw.grpc_trio.frames import DATA
from ttsw.grpc_trio.message_reader import MessageReader


def data_frames(raw: bytes) -> list[tuple[int, int, int, bytes]]:
    return [frame for frame in split_frames(raw) if frame[0] == DATA]


async def transcript(batches: list[list[bytes]], window: int, *, through_h2: bool) -> tuple[bytes, int, int]:
    """Send `batches`; return the bytes that the client received and the server's final windows."""

    async def body(stream: ServerStream[Raw, Raw]) -> None:
        for batch in batches:
            await stream.send_encoded(batch)
        windows.append(stream._stream.call._h2.outbound_flow_control_window)

    windows: list[int] = []
    service = Service(body=body)
    client, ours = trio.testing.memory_stream_pair()
    connection = make_connection(service, ours, Settings(data_through_h2=through_h2))
    wire = Wire(client, window=window)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run)
        await wire.start()
        call = await wire.begin("/test.Test/Test", end=True)
        await wire.until(lambda: call in wire.ended)
        assert messages_of(wire.data[call]) == [message for batch in batches for message in batch]
        windows.append(connection.h2.outbound_flow_control_window)
        nursery.cancel_scope.cancel()
    return wire.raw, windows[0], windows[1]


@given(
    batches=st.lists(st.lists(st.integers(0, 20_000), max_size=4), max_size=3),
    window=st.sampled_from([1_000, 5_000, 65_535, 10**6]),
)
@settings(max_examples=25, deadline=None)
async def test_data_by_hand_and_through_h2_are_the_same_bytes_and_windows(batches, window):
    filled = [[bytes([index % 251]) * size for index, size in enumerate(batch)] for batch in batches]
    by_hand = await transcript(filled, window, through_h2=False)
    assert by_hand == await transcript(filled, window, through_h2=True)


async def test_small_messages_share_a_frame(connect, service):
    async def body(stream):
        await stream.send_encoded([b"a" * 100] * 20)

    service.body = body
    wire, _ = await connect()
    await wire.call("/test.Test/Test")
    assert [len(frame[3]) for frame in data_frames(wire.raw)] == [20 * 105]


async def test_a_window_is_never_overrun_and_a_large_message_passes_in_pieces(connect, service):
    async def body(stream):
        await stream.send_encoded([b"x" * 10_000])

    service.body = body
    wire, connection = await connect(window=1000, auto_credit=False)
    call = await wire.begin("/test.Test/Test", end=True)
    sizes = []
    while call not in wire.ended:
        seen = len(wire.data[call])
        await trio.testing.wait_all_tasks_blocked()
        assert connection.h2.streams[call].outbound_flow_control_window >= 0
        await wire.read()
        if got := len(wire.data[call]) - seen:
            sizes.append(got)
        if got and call not in wire.ended:
            wire.h2.increment_flow_control_window(got, call)
            await wire.flush()
    assert messages_of(wire.data[call]) == [b"x" * 10_000]
    assert max(sizes) == 1000


async def test_a_smaller_window_by_settings_is_kept_to(connect, service):
    async def body(stream):
        await stream.send_encoded([b"x" * 600])
        await service.release.wait()
        await stream.send_encoded([b"y" * 500])

    service.body = body
    wire, connection = await connect(window=1000, auto_credit=False)
    call = await wire.begin("/test.Test/Test", end=True)
    await wire.until(lambda: len(wire.data[call]) == 605)
    wire.h2.update_settings({4: 700})  # now 95 bytes
    await wire.flush()
    await trio.testing.wait_all_tasks_blocked()
    service.release.set()
    await trio.testing.wait_all_tasks_blocked()
    assert connection.h2.streams[call].outbound_flow_control_window == 95
    wire.h2.update_settings({4: 5000})
    await wire.flush()
    await wire.until(lambda: call in wire.ended)
    assert [len(message) for message in messages_of(wire.data[call])] == [600, 500]


async def test_a_call_without_window_holds_up_no_other(connect, service):
    async def body(stream):
        await stream.send_encoded([b"x" * 3000])

    service.body = body
    wire, _ = await connect(window=1000, auto_credit=False)
    stuck = await wire.begin("/test.Test/Test", end=True)
    await wire.until(lambda: len(wire.data[stuck]) == 1000)
    assert messages_of(wire.data[await wire.call("/test.Test/Unary", b"other")]) == [b"other"]
    assert stuck not in wire.ended


async def test_a_message_larger_than_every_window_comes_in(connect):
    wire, _ = await connect(Settings(window_bytes=1000))
    call = await wire.begin("/test.Test/Unary")
    data = b"\0" + (200_000).to_bytes(4, "big") + b"z" * 200_000
    while data:
        room = wire.h2.local_flow_control_window(call)
        piece, data = data[:room], data[room:]
        if piece:
            wire.h2.send_data(call, piece, end_stream=not data)
            await wire.flush()
        else:
            await wire.read()
    await wire.until(lambda: call in wire.ended)
    assert messages_of(wire.data[call]) == [b"z" * 200_000]


async def test_a_handler_that_does_not_read_stops_its_client_at_one_window(connect, service):
    wire, connection = await connect(Settings(window_bytes=5000))
    call = await wire.begin("/test.Test/Hold")
    await wire.until(lambda: call in wire.headers)
    sent = 0
    while wire.h2.local_flow_control_window(call) >= 105:
        await wire.send(call, b"x" * 100)
        sent += 1
        await trio.testing.wait_all_tasks_blocked()
    assert sent == 5000 // 105
    assert "47 whole messages" in repr(connection.calls[call])
    assert messages_of(wire.data[await wire.call("/test.Test/Unary", b"other")]) == [b"other"]


async def test_reading_gives_the_credit_back(connect):
    wire, _ = await connect(Settings(window_bytes=5000))
    call = await wire.begin("/test.Test/Echo")
    for _ in range(100):  # ten times the window
        await wire.send(call, b"x" * 500)
        await trio.testing.wait_all_tasks_blocked()
        await wire.read()
    await wire.send(call, end=True)
    await wire.until(lambda: call in wire.ended)
    assert len(messages_of(wire.data[call])) == 100


async def test_the_queue_is_bounded_and_shared_fairly(connect, service, monkeypatch):
    # trio schedules ready tasks in random order, and fairness holds on average; a fixed seed makes the test repeatable.
    monkeypatch.setattr("trio._core._run._r", random.Random(1))

    async def body(stream):
        name = Raw(stream.metadata["x-name"].encode())
        for _ in range(200):
            await stream.send_encoded([name * 2000])

    service.body = body
    wire, connection = await connect(lockstep=True, window=2**20)
    wire.h2.increment_flow_control_window(2**20)
    calls = [await wire.begin("/test.Test/Test", {"x-name": name}, end=True) for name in "abcd"]
    most, slowest = 0, 0
    while not wire.ended.issuperset(calls):
        await wire.read()
        most = max(most, len(connection.out))
        if not wire.ended:
            slowest = min(len(wire.data[call]) for call in calls)
    assert most < connection.settings.max_queued_bytes + 4 * 2005 + 200
    assert slowest > 250_000  # of 401 000 bytes, when the fastest call ended


# ---- one cancel per await point


async def sender(
    stream: ServerStream[Raw, Raw], messages: list[bytes], scopes: list[trio.CancelScope], after: list[bytes]
) -> None:
    with trio.CancelScope() as scope:
        scopes.append(scope)
        await stream.send_encoded(messages)
    if scope.cancelled_caught:
        await stream.send_encoded(after)


async def test_a_cancel_before_the_first_step_sends_nothing(connect, service):
    async def body(stream):
        with trio.CancelScope() as scope:
            scope.cancel()
            await stream.send_encoded([b"never"])
        await stream.send_encoded([b"after"])

    service.body = body
    wire, _ = await connect()
    call = await wire.call("/test.Test/Test")
    assert messages_of(wire.data[call]) == [b"after"]
    assert wire.status(call)[0] is Status.OK


@pytest.mark.parametrize("waiting_for", ["stream window", "connection window", "queue"])
async def test_a_message_cancelled_while_it_waits_is_not_sent_and_the_call_goes_on(connect, service, waiting_for):
    scopes: list[trio.CancelScope] = []

    async def body(stream):
        await stream.send_encoded([b"x" * 1000] * filling)
        await sender(stream, [b"cancelled" * 100], scopes, [b"after"])

    service.body = body
    filling = 65 if waiting_for != "queue" else 80
    window = {"stream window": 65535, "connection window": 10**6, "queue": 10**6}[waiting_for]
    wire, connection = await connect(window=window, auto_credit=False, lockstep=waiting_for == "queue")
    if waiting_for == "queue":
        wire.h2.increment_flow_control_window(10**6)
        await wire.flush()
    call = await wire.begin("/test.Test/Test", end=True)
    if waiting_for != "queue":
        await wire.until(lambda: len(wire.data[call]) == filling * 1005)
    await trio.testing.wait_all_tasks_blocked()
    if waiting_for == "queue":  # the first 80 kB wait for the queue too; read until they are sent
        while not scopes:
            await wire.read()
    await trio.testing.wait_all_tasks_blocked()
    scopes[0].cancel()
    await trio.testing.wait_all_tasks_blocked()
    wire.h2.increment_flow_control_window(50_000, call)
    wire.h2.increment_flow_control_window(50_000)
    await wire.flush()
    await wire.until(lambda: call in wire.ended)
    got = messages_of(wire.data[call])
    assert got[filling:] in ([b"after"], [b"cancelled" * 100])
    if waiting_for != "queue":
        assert got[filling:] == [b"after"]
    assert not connection.room
    assert not connection.calls


async def test_a_large_message_cancelled_half_sent_leaves_a_call_only_good_for_reset(connect, service):
    scopes: list[trio.CancelScope] = []
    errors: list[Exception] = []

    async def body(stream):
        try:
            await sender(stream, [b"x" * 30_000], scopes, [b"after"])
        except StreamTerminatedError as error:
            errors.append(error)

    service.body = body
    wire, connection = await connect(window=20_000, auto_credit=False)
    call = await wire.begin("/test.Test/Test", end=True)
    await wire.until(lambda: len(wire.data[call]) == 20_000)
    scopes[0].cancel()
    await wire.until(lambda: call in wire.resets)
    assert wire.resets[call] == ErrorCodes.INTERNAL_ERROR
    assert "half-sent" in str(errors[0])
    assert repr(connection) == "<ServerConnection ? open, 0 calls, 0 bytes queued>"


async def test_a_sender_waiting_behind_a_half_sent_message_gets_an_error(connect, service):
    async def body(stream):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender, stream, [b"x" * 30_000], scopes, [])
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(behind, stream)

    async def behind(stream):
        for message in (b"first", b"second"):
            with pytest.raises(StreamTerminatedError, match="half-sent"):
                await stream.send_encoded([message])
            failed.append(message)

    scopes: list[trio.CancelScope] = []
    failed: list[bytes] = []
    service.body = body
    wire, _ = await connect(window=20_000, auto_credit=False)
    call = await wire.begin("/test.Test/Test", end=True)
    await wire.until(lambda: len(wire.data[call]) == 20_000)
    await trio.testing.wait_all_tasks_blocked()
    scopes[0].cancel()
    await wire.until(lambda: call in wire.resets)
    assert failed == [b"first", b"second"]


async def test_a_cancelled_read_loses_no_message(connect, service):
    async def body(stream):
        with trio.CancelScope() as scope:
            scopes.append(scope)
            await stream.recv_message()
        await stream.send_message(await stream.recv_message())

    scopes: list[trio.CancelScope] = []
    service.body = body
    wire, _ = await connect()
    call = await wire.begin("/test.Test/Test")
    await trio.testing.wait_all_tasks_blocked()
    scopes[0].cancel()
    await trio.testing.wait_all_tasks_blocked()
    await wire.send(call, b"first", end=True)
    await wire.until(lambda: call in wire.ended)
    assert messages_of(wire.data[call]) == [b"first"]


@pytest.mark.parametrize("path", ["Hold", "Echo", "Test"])
async def test_a_reset_at_every_wait_leaves_a_clean_connection(connect, service, path):
    async def body(stream):  # waits for a window that never opens
        await stream.send_encoded([b"x" * 3000])

    service.body = body
    wire, connection = await connect(window=1000, auto_credit=False)
    call = await wire.begin(f"/test.Test/{path}")
    await trio.testing.wait_all_tasks_blocked()
    assert len(connection.calls) == 1
    await wire.reset(call)
    await trio.testing.wait_all_tasks_blocked()
    assert repr(connection) == "<ServerConnection ? open, 0 calls, 0 bytes queued>"
    assert not connection.room
    assert messages_of(wire.data[await wire.call("/test.Test/Unary", b"next")]) == [b"next"]


async def test_the_server_cancelled_while_its_writer_is_stuck_ends_in_time(service, autojump_clock):
    async def body(stream):
        await stream.send_encoded([b"x" * 200_000])

    service.body = body
    client, ours = trio.testing.lockstep_stream_pair()
    connection = make_connection(service, ours)
    wire = Wire(client, window=2**20)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run)
        await wire.start()
        await wire.begin("/test.Test/Test", end=True)
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        nursery.cancel_scope.cancel()
    assert trio.current_time() - began == pytest.approx(connection.settings.flush_s)
    assert not connection.calls


async def test_a_shielded_handler_gets_an_error_after_a_reset(connect, service):
    async def body(stream):
        with trio.CancelScope(shield=True):
            await service.release.wait()
            try:
                await stream.send_encoded([b"x"])
            except StreamTerminatedError as error:
                errors.append(str(error))
            try:
                await stream.recv_message()
            except StreamTerminatedError as error:
                errors.append(str(error))

    errors: list[str] = []
    service.body = body
    wire, connection = await connect()
    call = await wire.begin("/test.Test/Test")
    await trio.testing.wait_all_tasks_blocked()
    await wire.reset(call)
    await trio.testing.wait_all_tasks_blocked()
    service.release.set()
    await trio.testing.wait_all_tasks_blocked()
    assert errors == ["reset by the peer: CANCEL"] * 2
    assert not connection.calls


def test_the_repr_of_a_message_reader():
    assert repr(MessageReader(1)) == "<MessageReader open, 0 whole messages, 0 bytes of the next>"
