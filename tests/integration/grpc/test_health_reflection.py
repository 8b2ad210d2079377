"""Health and reflection as stock clients use them: grpcio's own stubs and descriptor database, on the C core."""

import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import grpc
import pytest
import trio
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from tests.integration.grpc.conftest import in_thread, until
from ttsw.fronts.abi.generated.grpc.health import v1
from ttsw.fronts.abi.generated.tts import Capabilities, GetCapabilitiesResponse, TtsServiceBase
from ttsw.fronts.abi.health import HealthBoard, HealthServicer
from ttsw.fronts.abi.reflection import ReflectionServicer
from ttsw.grpc_trio import Server, Settings, open_channel, serve

LONG_S = 15
TTS = "tts.TTSService"
WATCH = "/grpc.health.v1.Health/Watch"
UNKNOWN, SERVING, NOT_SERVING, SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.ServingStatus.values()


class Voice(TtsServiceBase):
    async def get_capabilities(self, message):
        return GetCapabilitiesResponse(
            capabilities=Capabilities(streaming=True, languages=["de"]), metrics={"rtf": 0.5}
        )


@pytest.fixture
def board() -> HealthBoard:
    return HealthBoard([TTS])


@pytest.fixture
def health(board) -> HealthServicer:
    return HealthServicer(board)


@pytest.fixture
def reflection(health) -> ReflectionServicer:
    return ReflectionServicer([Voice(), health])


@pytest.fixture
async def server(health, reflection, nursery) -> AsyncIterator[Server]:
    running = await nursery.start(serve, [Voice(), health, reflection])
    yield running
    await until(lambda: not running.calls)
    assert "0>" in repr(health)
    assert "0>" in repr(reflection)


@pytest.fixture
def stub(channel) -> health_pb2_grpc.HealthStub:
    return health_pb2_grpc.HealthStub(channel)


@pytest.fixture
async def on_trio() -> Callable[..., Any]:
    """Runs a function in trio's thread, for a client that is in another."""
    return partial(trio.from_thread.run_sync, trio_token=trio.lowlevel.current_trio_token())


def asking(service: str = "") -> health_pb2.HealthCheckRequest:
    return health_pb2.HealthCheckRequest(service=service)


# ---- health


async def test_check_from_start_to_drain(stub, board, on_trio):
    def work():
        seen = []
        for step in (None, True, False):
            if step is not None:
                on_trio(board.set_all, step)
            seen += [stub.Check(asking(service), timeout=LONG_S).status for service in ("", TTS)]
        return seen

    assert await in_thread(work) == [NOT_SERVING] * 2 + [SERVING] * 2 + [NOT_SERVING] * 2


async def test_check_of_an_unknown_service(stub):
    def work():
        with pytest.raises(grpc.RpcError) as caught:
            stub.Check(asking("tts.Ünknown\n"), timeout=LONG_S)
        return caught.value.code(), caught.value.details()

    code, details = await in_thread(work)
    assert code is grpc.StatusCode.NOT_FOUND
    assert details.startswith("no service 'tts.Ünknown\\n'; there are:")


async def test_list(stub, board):
    board.set(TTS, True)

    def work():
        return stub.List(health_pb2.HealthListRequest(), timeout=LONG_S).statuses

    assert {name: each.status for name, each in (await in_thread(work)).items()} == {"": NOT_SERVING, TTS: SERVING}


async def test_watch_tells_each_change(stub, board, on_trio):
    def work():
        call = stub.Watch(asking(TTS), timeout=LONG_S)
        seen = [next(call).status]
        for serving in (True, False, True):
            on_trio(board.set_all, serving)
            seen.append(next(call).status)
        call.cancel()
        return seen

    assert await in_thread(work) == [NOT_SERVING, SERVING, NOT_SERVING, SERVING]


async def test_watch_of_an_unknown_service_goes_on(stub, board, on_trio):
    def work():
        call = stub.Watch(asking("later"), timeout=LONG_S)
        seen = [next(call).status]
        on_trio(board.set_all, True)
        on_trio(board.set, "later", True)
        seen.append(next(call).status)
        call.cancel()
        return seen

    assert await in_thread(work) == [SERVICE_UNKNOWN, SERVING]


async def test_a_watchs_deadline(stub, health):
    def work():
        with pytest.raises(grpc.RpcError) as caught:
            list(stub.Watch(asking(), timeout=0.1))
        return caught.value.code()

    assert await in_thread(work) is grpc.StatusCode.DEADLINE_EXCEEDED
    await until(lambda: repr(health).endswith("<OpenCalls open, 0>>"))


async def test_hundreds_of_watchers_come_hear_and_go(stub, board, server, health, on_trio):
    def work():
        calls = [stub.Watch(asking(TTS if number % 2 else ""), timeout=LONG_S) for number in range(600)]
        seen = [[next(call).status for call in calls]]
        at_once = server.calls
        on_trio(board.set_all, True)
        seen.append([next(call).status for call in calls])
        for call in calls:
            call.cancel()
        return seen, at_once

    assert await in_thread(work, limit_s=40) == ([[NOT_SERVING] * 600, [SERVING] * 600], 600)
    await until(lambda: repr(health) == f"<HealthServicer {board!r}, <OpenCalls open, 0>>")
    assert "0 waiting" in repr(board)


async def test_a_client_that_reads_nothing_holds_up_nobody(server, board, health):
    settings = Settings(window_bytes=16)  # two answers of 7 bytes
    async with (
        open_channel(*server.addresses[0], settings=settings) as channel,
        channel.stream(WATCH, v1.HealthCheckRequest, v1.HealthCheckResponse) as slow,
        channel.stream(WATCH, v1.HealthCheckRequest, v1.HealthCheckResponse) as quick,
    ):
        for call in (slow, quick):
            await call.send(v1.HealthCheckRequest())
            await call.end()
        for number in range(100):
            assert int((await quick.receive()).status) == (NOT_SERVING, SERVING)[number % 2]
            board.set_all(number % 2 == 0)
        assert int((await quick.receive()).status) == NOT_SERVING
        heard = []
        with trio.move_on_after(0.2):
            async for reply in slow:
                heard.append(int(reply.status))  # noqa: PERF401 - a comprehension's are lost in the cancel
        assert len(heard) < 10
        assert heard[-1] == NOT_SERVING


@pytest.fixture
def stop(server, board, health, reflection) -> Callable[[], None]:
    """What the application does when speech has ended, or has been cut."""

    def stop() -> None:
        board.set_all(False)
        health.close()
        reflection.close()
        server.drain()

    return stop


async def test_a_drain_ends_watches_and_idle_reflection(stub, channel, server, stop, on_trio):
    def work():
        def forever():
            release.wait(LONG_S)
            yield from ()

        release = threading.Event()
        watches = [stub.Watch(asking(service), timeout=LONG_S) for service in ("", "no")]
        idle = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(forever(), timeout=LONG_S)
        seen = [next(call).status for call in watches]
        on_trio(stop)
        ends = []
        for call in (*watches, idle):
            with pytest.raises(grpc.RpcError) as caught:
                next(call)
            ends.append((caught.value.code(), caught.value.details()))
        release.set()
        return seen, ends

    seen, ends = await in_thread(work)
    assert seen == [NOT_SERVING, SERVICE_UNKNOWN]
    assert ends == [(grpc.StatusCode.UNAVAILABLE, "the server is shutting down")] * 3
    await until(lambda: not server.connections)


async def test_a_drain_ends_the_watch_of_a_client_that_reads_nothing(server, board, stop):
    async with (
        open_channel(*server.addresses[0], settings=Settings(window_bytes=16)) as channel,
        channel.stream(WATCH, v1.HealthCheckRequest, v1.HealthCheckResponse) as call,
    ):
        await call.send(v1.HealthCheckRequest())
        await call.end()
        for number in range(10):
            board.set_all(number % 2 == 0)
            await trio.sleep(0.01)
        assert "0 waiting" in repr(board), "it waits for the client"
        stop()
        await until(lambda: not server.calls)
        with pytest.raises(GRPCError) as caught:
            _ = [reply async for reply in call]
        assert caught.value.status is Status.UNAVAILABLE


async def test_a_channel_that_minds_health_calls_only_who_serves(server, board, on_trio):
    config = {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": TTS}}
    options = [("grpc.service_config", json.dumps(config))]

    def work():
        with grpc.insecure_channel("{}:{}".format(*server.addresses[0]), options) as channel:
            call = channel.unary_unary(f"/{TTS}/GetCapabilities")
            with pytest.raises(grpc.RpcError) as caught:
                call(b"", timeout=LONG_S)
            on_trio(board.set_all, True)
            return caught.value.code(), call(b"", timeout=LONG_S, wait_for_ready=True)

    code, reply = await in_thread(work)
    assert code is grpc.StatusCode.UNAVAILABLE
    assert GetCapabilitiesResponse.parse(reply).capabilities.streaming


@pytest.fixture
def try_junk(channel, stub, caplog) -> Callable[..., Any]:
    """Sends bytes as a request; gives the status of what comes, and sees that the server is well."""

    def call(path: str, junk: bytes) -> Any:
        method = channel.stream_stream(path)(iter([junk]), timeout=LONG_S)
        try:
            next(method)
            method.cancel()
        except grpc.RpcError as error:
            code = error.code()
        else:
            code = grpc.StatusCode.OK
        assert stub.Check(asking(), timeout=LONG_S).status == NOT_SERVING
        assert not caplog.records
        return code

    caplog.set_level("INFO", "ttsw")
    return call


@pytest.mark.parametrize("method", ["Check", "Watch"])
async def test_what_is_no_health_request(try_junk, method):
    def work():
        path = f"/grpc.health.v1.Health/{method}"
        return [
            try_junk(path, junk) for junk in (b"\x0a\x02\xff\xfe", b"\x0d1234", b"\xff\xff", b"\x0a\x05ab", b"\x08\x01")
        ]

    assert set(await in_thread(work)) == {grpc.StatusCode.INVALID_ARGUMENT}


# ---- reflection


@pytest.fixture(params=["v1", "v1alpha"])
def ask(request, channel) -> Callable[..., list[Any]]:
    """A stub by hand: the messages of both versions are the same on the wire."""
    method = channel.stream_stream(
        f"/grpc.reflection.{request.param}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )

    def call(*questions: dict[str, Any]) -> list[Any]:
        def requests() -> Iterator[Any]:
            for question in questions:
                yield reflection_pb2.ServerReflectionRequest(host="h", **question)

        return list(method(requests(), timeout=LONG_S))

    return call


async def test_grpcios_descriptor_database_is_enough_to_call(channel):
    def work():
        database = ProtoReflectionDescriptorDatabase(channel)
        pool = DescriptorPool(database)
        method = pool.FindServiceByName(TTS).FindMethodByName("GetCapabilities")
        call = channel.unary_unary(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        reply = call(GetMessageClass(method.input_type)(), timeout=LONG_S)
        extensions = pool.FindAllExtensions(method.input_type)
        return set(database.get_services()), reply, list(extensions)

    services, reply, extensions = await in_thread(work)
    assert services == {
        *(TTS, "grpc.health.v1.Health"),
        *(f"grpc.reflection.{version}.ServerReflection" for version in ("v1", "v1alpha")),
    }
    assert (reply.capabilities.streaming, list(reply.capabilities.languages)) == (True, ["de"])
    assert dict(reply.metrics) == {"rtf": 0.5}
    assert extensions == []


async def test_every_listed_service_can_be_described(ask):
    def work():
        (listed,) = ask({"list_services": ""})
        names = [service.name for service in listed.list_services_response.service]
        return names, ask(*({"file_containing_symbol": name} for name in names))

    names, answers = await in_thread(work)
    assert len(names) == len(answers) == 4
    for name, answer in zip(names, answers, strict=True):
        assert (answer.valid_host, answer.original_request.file_containing_symbol) == ("h", name)
        file = FileDescriptorProto.FromString(answer.file_descriptor_response.file_descriptor_proto[0])
        assert name in {f"{file.package}.{service.name}" for service in file.service}


async def test_an_error_is_an_answer_and_the_call_goes_on(ask):
    def work():
        extension = reflection_pb2.ExtensionRequest(containing_type="tts.AudioFrame", extension_number=1)
        return ask(
            {"file_containing_symbol": "tts.No"},
            {},
            {"file_containing_extension": extension},
            {"all_extension_numbers_of_type": "tts.AudioFrame"},
            {"file_by_filename": "tts.proto"},
        )

    answers = await in_thread(work)
    codes = [Status(answer.error_response.error_code) for answer in answers]
    assert codes == [Status.NOT_FOUND, Status.INVALID_ARGUMENT, Status.NOT_FOUND, Status.OK, Status.OK]
    assert answers[3].all_extension_numbers_response.base_type_name == "tts.AudioFrame"


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_what_is_no_reflection_request(try_junk, version):
    def work():
        path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
        return [
            try_junk(path, junk) for junk in (b"\x22\x02\xff\xfe", b"\x3d1234", b"\x18\x01", b"\xff\xff", b"\x22\x05ab")
        ]

    assert set(await in_thread(work)) == {grpc.StatusCode.INVALID_ARGUMENT}
