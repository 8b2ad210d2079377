"""Reflection requests and responses; tests/integration checks them with stock clients."""

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import pairwise

import pytest
import trio
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.generate_proto import ROOT, render
from ttsw.fronts.abi.generated import descriptors
from ttsw.fronts.abi.generated.grpc.reflection.v1 import (
    ExtensionRequest,
    ServerReflectionRequest,
    ServerReflectionResponse,
)
from ttsw.fronts.abi.generated.tts import TtsServiceBase
from ttsw.fronts.abi.health import HealthBoard, HealthServicer
from ttsw.fronts.abi.reflection import DescriptorIndex, ReflectionServicer

V1, V1ALPHA = "grpc/reflection/v1/reflection.proto", "grpc/reflection/v1alpha/reflection.proto"
REFLECTION = ReflectionServicer([TtsServiceBase(), HealthServicer(HealthBoard())])


def plain(file: FileDescriptorProto | FileDescriptor) -> str:
    """Return the part of a file that clients rely on, without its name and options for code generators."""
    copy = FileDescriptorProto()
    copy.CopyFrom(file) if isinstance(file, FileDescriptorProto) else file.CopyToProto(copy)
    copy.ClearField("name")
    copy.ClearField("options")
    for message in copy.message_type:
        for level in (message, *message.nested_type):
            for field in level.field:
                field.ClearField("json_name")
    return str(copy)


def ask(**question: object) -> ServerReflectionResponse:
    request = ServerReflectionRequest(host="here", **question)
    answer = REFLECTION.answer(request)
    assert (answer.valid_host, answer.original_request) == ("here", request)
    return ServerReflectionResponse.parse(bytes(answer))


def names(answer: ServerReflectionResponse) -> list[str]:
    return [FileDescriptorProto.FromString(file).name for file in answer.file_descriptor_response.file_descriptor_proto]


def error(answer: ServerReflectionResponse) -> tuple[Status, str]:
    return Status(answer.error_response.error_code), answer.error_response.error_message


def test_the_files_are_the_standards():
    ours = plain(FileDescriptorProto.FromString(descriptors.FILES[V1ALPHA]))
    assert ours == plain(reflection_pb2.DESCRIPTOR)
    newer = plain(FileDescriptorProto.FromString(descriptors.FILES[V1]))
    assert newer == ours.replace("grpc.reflection.v1alpha", "grpc.reflection.v1")


def test_the_index_is_what_protobuf_finds():
    pool = DescriptorPool()
    for data in descriptors.FILES.values():
        pool.AddSerializedFile(data)
    methods = {f"tts.TTSService.{name}" for name in pool.FindServiceByName("tts.TTSService").methods_by_name}
    assert methods <= set(descriptors.SYMBOLS)
    for symbol, file in descriptors.SYMBOLS.items():
        owner = symbol.rpartition(".")[0]
        is_method = owner.endswith((".TTSService", ".Health", ".ServerReflection"))
        assert pool.FindFileContainingSymbol(owner if is_method else symbol).name == file


def test_a_server_needs_no_protobuf_library_and_no_asyncio_half_of_grpclib():
    code = (
        "import sys; sys.modules['google.protobuf'] = None; import ttsw.fronts.abi.health, ttsw.fronts.abi.reflection;"
        "print({'grpclib.health', 'grpclib.health.service', 'grpclib.reflection'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"


def test_all_services_are_listed_reflection_too():
    services = [service.name for service in ask(list_services="").list_services_response.service]
    assert services == [
        *("grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"),
        *("grpc.reflection.v1alpha.ServerReflection", "tts.TTSService"),
    ]
    assert ask(list_services="*").list_services_response.service[0].name == services[0]


@pytest.mark.parametrize("name", descriptors.FILES)
def test_a_file_by_its_name(name):
    assert ask(file_by_filename=name).file_descriptor_response.file_descriptor_proto == [descriptors.FILES[name]]


@pytest.mark.parametrize(
    ("symbol", "file"),
    [
        ("tts.TTSService", "tts.proto"),
        ("tts.TTSService.Synthesize", "tts.proto"),
        ("tts.AudioFrame", "tts.proto"),
        ("tts.AudioFrame.audio_data", "tts.proto"),
        ("tts.ControlCommand", "tts.proto"),
        ("tts.PAUSE", "tts.proto"),
        ("tts.ModelInfo.MetadataEntry", "tts.proto"),
        ("grpc.health.v1.HealthCheckResponse.ServingStatus", "grpc/health/v1/health.proto"),
        ("grpc.health.v1.HealthCheckResponse.SERVING", "grpc/health/v1/health.proto"),
        ("grpc.reflection.v1.ServerReflection", V1),
        ("grpc.reflection.v1.ServerReflectionRequest.message_request", V1),
        ("grpc.reflection.v1alpha.ServerReflection", V1ALPHA),
    ],
)
def test_the_file_of_a_symbol(symbol, file):
    assert names(ask(file_containing_symbol=symbol)) == [file]


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"file_by_filename": "no.proto"}, "unknown file 'no.proto'"),
        ({"file_by_filename": ""}, "unknown file ''"),
        ({"file_containing_symbol": "tts.No"}, "unknown symbol 'tts.No'"),
        ({"file_containing_symbol": "tts"}, "unknown symbol 'tts'"),
        (
            {"file_containing_extension": ExtensionRequest(containing_type="tts.AudioFrame", extension_number=7)},
            "tts.AudioFrame has no extension 7",
        ),
        ({"file_containing_extension": ExtensionRequest()}, "unknown message type ''"),
        ({"all_extension_numbers_of_type": "tts.PAUSE"}, "unknown message type 'tts.PAUSE'"),
    ],
)
def test_what_is_not_found(question, message):
    assert error(ask(**question)) == (Status.NOT_FOUND, message)


def test_no_question():
    assert error(ask()) == (Status.INVALID_ARGUMENT, "empty or unknown reflection request")


def test_two_questions_in_one_get_one_answer():
    both = bytes(ServerReflectionRequest(list_services="")) + bytes(ServerReflectionRequest(file_by_filename="no"))
    answer = ServerReflectionResponse.parse(bytes(REFLECTION.answer(ServerReflectionRequest.parse(both))))
    assert answer.list_services_response is not None
    assert answer.error_response is None


def test_a_message_without_extensions():
    answer = ask(all_extension_numbers_of_type="tts.AudioFrame").all_extension_numbers_response
    assert (answer.base_type_name, answer.extension_number) == ("tts.AudioFrame", [])


@given(
    st.sampled_from(["file_by_filename", "file_containing_symbol", "all_extension_numbers_of_type"]),
    st.text().filter(lambda text: text not in descriptors.SYMBOLS | descriptors.FILES),
)
def test_any_text_has_an_answer(question, text):
    status, message = error(ask(**{question: text}))
    assert status is Status.NOT_FOUND
    assert len(message) <= 610


@given(st.lists(st.sampled_from(b"\x00\x01\x02\x08\x0a\x18\x1a\x20\x22\x2a\x32\x3aA\xff"), max_size=12).map(bytes))
def test_any_bytes_that_pass_for_a_question_have_an_answer_that_can_be_sent(data):
    try:
        question = ServerReflectionRequest.parse(data)
    except Exception:
        assume(False)
    with suppress(GRPCError):
        assert bytes(REFLECTION.answer(question))


@pytest.mark.parametrize("data", [b"\x18\x01", b"\x2a\x02\x08\x01"])
def test_a_number_for_a_name_is_no_question(data):
    with pytest.raises(GRPCError, match="invalid ServerReflectionRequest"):
        REFLECTION.answer(ServerReflectionRequest.parse(data))


# ---- the call


class Flood:
    """A client with a thousand pending requests, which accepts every response immediately."""

    def __init__(self, ask: ServerReflectionRequest) -> None:
        self.answers = 0
        self._asked = iter([ask] * 1000)

    async def __aiter__(self) -> AsyncIterator[ServerReflectionRequest]:
        for request in self._asked:
            yield request

    async def send_message(self, message: ServerReflectionResponse) -> None:
        self.answers += 1


async def test_a_flood_of_requests_does_not_block_other_tasks(nursery):
    flood, seen = Flood(ServerReflectionRequest(list_services="")), []

    async def neighbour() -> None:
        while flood.answers < 1000:
            seen.append(flood.answers)
            await trio.lowlevel.checkpoint()

    nursery.start_soon(neighbour)
    await REFLECTION.__mapping__()["/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"].func(flood)
    assert flood.answers == 1000
    assert max(after - before for before, after in pairwise(seen)) <= 2


# ---- files that import and extend each other, unlike the served ones


@pytest.fixture(scope="module")
def others() -> ReflectionServicer:
    files = FileDescriptorSet()
    base, middle, top = (files.file.add(name=f"{name}.proto", package="a.b") for name in ("base", "middle", "top"))
    middle.dependency.append("base.proto")
    top.dependency.extend(["base.proto", "middle.proto"])
    outer = base.message_type.add(name="Base")
    outer.extension_range.add(start=100, end=200)
    middle.extension.add(name="early", number=120, extendee=".a.b.Base")
    holder = top.message_type.add(name="Top").nested_type.add(name="Holder")
    holder.extension.add(name="late", number=110, extendee=".a.b.Base")
    made: dict[str, dict] = {}
    exec(render(files.SerializeToString()), made)
    return ReflectionServicer(
        [],
        DescriptorIndex(
            files=made["FILES"], imports=made["IMPORTS"], symbols=made["SYMBOLS"], extensions=made["EXTENSIONS"]
        ),
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [("base", ["base"]), ("middle", ["middle", "base"]), ("top", ["top", "base", "middle"])],
)
def test_a_file_comes_first_then_each_that_it_needs_once(others, name, expected):
    answer = others.answer(ServerReflectionRequest(file_by_filename=f"{name}.proto"))
    assert names(answer) == [f"{each}.proto" for each in expected]


@pytest.mark.parametrize(("number", "file"), [(120, "middle.proto"), (110, "top.proto")])
def test_the_file_of_an_extension(others, number, file):
    extension = ExtensionRequest(containing_type="a.b.Base", extension_number=number)
    assert names(others.answer(ServerReflectionRequest(file_containing_extension=extension)))[0] == file


def test_the_numbers_of_extensions(others):
    answer = others.answer(ServerReflectionRequest(all_extension_numbers_of_type="a.b.Base"))
    assert answer.all_extension_numbers_response.extension_number == [110, 120]


@pytest.mark.parametrize("symbol", ["a.b.early", "a.b.Top.Holder.late", "a.b.Top.Holder"])
def test_what_is_nested_is_found(others, symbol):
    assert names(others.answer(ServerReflectionRequest(file_containing_symbol=symbol)))
