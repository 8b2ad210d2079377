"""Every field of every request with every protobuf wire type, alone and beside a good one, over a real socket."""

import grpc
import pytest

from tests.integration.support import check_frames
from tests.unit.grpc_trio.test_schema import CONTENTS, field, meta
from ttsw.fronts.abi.generated import tts
from ttsw.fronts.abi.generated.grpc.health.v1 import HealthCheckRequest

UNARY = {
    f"/tts.TTSService/{name}": getattr(tts, f"{name}Request")
    for name in ("StartSession", "EndSession", "Control", "LoadModel", "UnloadModel", "ListModels", "GetCapabilities")
} | {"/grpc.health.v1.Health/Check": HealthCheckRequest}
ALLOWED = {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}
STREAMED = {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}


def requests(message_type, good):
    for about in meta(message_type).values():
        for wire_type, content in CONTENTS.items():
            data = field(about.number, wire_type, content)
            yield from (data, good + data, data + good)
    for entry in (b"\x02\x08\x05", b"\x02\x10\x05", b"\x05\x0d" + bytes(4), b"\x00"):
        yield good + field(3, 2, entry)


def code_of(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@pytest.mark.parametrize("path", UNARY)
def test_a_unary_request_is_answered_or_refused(client, worker, path):
    before = len(worker.lines(level="error"))
    call = client._channel.unary_unary(path, bytes)
    message_type = UNARY[path]
    good = bytes(message_type(session_id="nobody") if "session_id" in meta(message_type) else message_type())
    if path.endswith(("LoadModel", "UnloadModel")):
        good = bytes(message_type(model_id="none"))
    codes = {code_of(lambda data=data: call(data, timeout=30)) for data in requests(message_type, good)}
    assert codes <= ALLOWED
    assert len(worker.lines(level="error")) == before


def test_a_chunk_of_text_is_spoken_or_refused(client, worker):
    before = len(worker.lines(level="error"))
    with client.session(pacing="fast") as session_id:
        good = bytes(tts.TextChunk(session_id=session_id, text="a", is_final=True))
        codes = {code_of(lambda data=data: list(client.stream([data]))) for data in requests(tts.TextChunk, good)}
        assert codes <= STREAMED
        check_frames(client.speak(session_id, "Still there."), session_id)
    assert len(worker.lines(level="error")) == before
