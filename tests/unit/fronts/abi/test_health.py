"""The health board, open calls, and the servicer on a fake stream."""

import pytest
import trio
import trio.testing
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from tests.unit.fronts.abi.test_reflection import plain
from ttsw.fronts.abi.generated import descriptors
from ttsw.fronts.abi.generated.grpc.health import v1
from ttsw.fronts.abi.health import HealthBoard, HealthServicer, OpenCalls

State = v1.HealthCheckResponseServingStatus
TTS = "tts.TTSService"


class FakeStream:
    """A client that requests one service, and reads responses while its gate is open."""

    def __init__(self, service: str) -> None:
        self.sent: list[str] = []
        self.gate = trio.Event()
        self.gate.set()
        self._service = service

    async def recv_message(self) -> v1.HealthCheckRequest:
        await trio.lowlevel.checkpoint_if_cancelled()
        return v1.HealthCheckRequest(service=self._service)

    async def send_message(self, message: v1.HealthCheckResponse) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        await self.gate.wait()
        self.sent.append(message.status.name)


@pytest.fixture
def board() -> HealthBoard:
    return HealthBoard([TTS])


@pytest.fixture
def servicer(board) -> HealthServicer:
    return HealthServicer(board)


@pytest.fixture
def watch(servicer, nursery):
    async def start(service: str) -> FakeStream:
        stream = FakeStream(service)
        nursery.start_soon(servicer.__mapping__()["/grpc.health.v1.Health/Watch"].func, stream)
        await trio.testing.wait_all_tasks_blocked()
        return stream

    return start


def test_the_file_is_the_standards():
    ours = FileDescriptorProto.FromString(descriptors.FILES["grpc/health/v1/health.proto"])
    assert plain(ours) == plain(health_pb2.DESCRIPTOR)


# ---- the board


def test_nothing_serves_initially(board):
    assert board.states == {"": False, TTS: False}
    board.set_all(True)
    assert board.states == {"": True, TTS: True}
    board.set(TTS, False)
    assert (board[""], board[TTS], board["other"]) == (True, False, None)
    assert repr(board) == "<HealthBoard {'': True, 'tts.TTSService': False}, 0 waiting>"


async def test_only_a_change_wakes(board, nursery):
    nursery.start_soon(board.changed)
    await trio.testing.wait_all_tasks_blocked()
    board.set(TTS, False)
    board.set_all(False)
    assert "1 waiting" in repr(board)
    board.set("new", False)
    assert "0 waiting" in repr(board)


# ---- Check and List


async def test_check_returns_the_current_state(board, servicer):
    assert (await servicer.check(v1.HealthCheckRequest())).status is State.NOT_SERVING
    board.set("", True)
    assert (await servicer.check(v1.HealthCheckRequest())).status is State.SERVING
    assert (await servicer.check(v1.HealthCheckRequest(service=TTS))).status is State.NOT_SERVING


async def test_check_of_an_unknown_service_lists_the_known_ones(servicer):
    with pytest.raises(GRPCError) as caught:
        await servicer.check(v1.HealthCheckRequest(service="tts.Other"))
    assert caught.value.status is Status.NOT_FOUND
    assert caught.value.message == 'no service \'tts.Other\'; there are: "", "tts.TTSService"'


async def test_a_long_name_makes_no_long_header(servicer):
    with pytest.raises(GRPCError) as caught:
        await servicer.check(v1.HealthCheckRequest(service="x" * 100_000))
    assert len(caught.value.message) <= 610


async def test_list_returns_all_states(board, servicer):
    board.set(TTS, True)
    statuses = (await servicer.list(v1.HealthListRequest())).statuses
    assert {name: each.status for name, each in statuses.items()} == {"": State.NOT_SERVING, TTS: State.SERVING}


# ---- Watch


async def test_a_watch_sends_the_state_and_each_change_of_its_service(board, watch, autojump_clock):
    stream = await watch(TTS)
    for serving in (True, True, False):
        board.set(TTS, serving)
        board.set("", not serving)
        await trio.sleep(1)
    assert stream.sent == ["NOT_SERVING", "SERVING", "NOT_SERVING"]


async def test_a_watch_of_an_unknown_service_waits_for_it(board, watch):
    stream = await watch("later")
    board.set_all(True)
    await trio.testing.wait_all_tasks_blocked()
    assert stream.sent == ["SERVICE_UNKNOWN"]
    board.set("later", True)
    await trio.testing.wait_all_tasks_blocked()
    assert stream.sent == ["SERVICE_UNKNOWN", "SERVING"]


async def test_a_slow_client_receives_only_the_last_state(board, watch):
    stream = await watch("")
    stream.gate = trio.Event()
    for _ in range(100):
        board.set_all(True)
        await trio.testing.wait_all_tasks_blocked()
        board.set_all(False)
        await trio.testing.wait_all_tasks_blocked()
    board.set_all(True)
    stream.gate.set()
    await trio.testing.wait_all_tasks_blocked()
    assert stream.sent == ["NOT_SERVING", "SERVING"]


@pytest.mark.parametrize("stuck", [False, True], ids=["waits for a change", "waits for the client"])
async def test_a_watch_that_is_cancelled_leaves_nothing_behind(servicer, board, stuck):
    stream = FakeStream("")
    if stuck:
        stream.gate = trio.Event()
    with trio.move_on_after(0.01) as scope:
        await servicer._watch(stream)
    assert scope.cancelled_caught
    assert repr(servicer) == f"<HealthServicer {board!r}, <OpenCalls open, 0>>"
    assert "0 waiting" in repr(board)


@pytest.mark.parametrize("stuck", [False, True], ids=["waits for a change", "waits for the client"])
async def test_close_ends_watches_and_those_to_come_as_unavailable(servicer, nursery, stuck):
    faults = []

    async def watch() -> None:
        stream = FakeStream("")
        if stuck:
            stream.gate = trio.Event()
        try:
            await servicer._watch(stream)
        except GRPCError as error:
            faults.append((error.status, error.message))

    nursery.start_soon(watch)
    await trio.testing.wait_all_tasks_blocked()
    assert not faults
    servicer.close()
    await trio.testing.wait_all_tasks_blocked()
    with trio.fail_after(5):
        await watch()
    assert faults == [(Status.UNAVAILABLE, "the server is shutting down")] * 2
    assert "<OpenCalls closed, 0>" in repr(servicer)


async def test_a_call_that_ends_on_its_own_after_close_raises_nothing():
    calls = OpenCalls()
    with calls.admit():
        calls.close()
    assert repr(calls) == "<OpenCalls closed, 0>"
