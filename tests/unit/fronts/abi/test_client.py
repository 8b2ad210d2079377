"""Requests and errors of the client, on a channel with fixed responses."""

from contextlib import asynccontextmanager

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from ttsw.errors import ERRORS, ErrorCode, InternalError, NotFoundError, UnavailableError
from ttsw.fronts.abi.client import TTSClient, open_client, translated
from ttsw.fronts.abi.generated import tts
from ttsw.fronts.abi.status import STATUS


class FixedChannel:
    """Returns the same message, or raises the same error, for every unary call."""

    def __init__(self, response):
        self.response = response
        self.requests = []

    async def unary(self, path, request, reply, *, metadata):
        self.requests.append((path, request))
        self.metadata = metadata
        if isinstance(self.response, Exception):
            raise self.response
        assert isinstance(self.response, reply)
        return self.response

    @asynccontextmanager
    async def stream(self, *types):
        self.requests.append(types)
        yield "a call"


CALLS = {
    "StartSession": (lambda client: client.start_session("s", "m", {"speed": "2"}), tts.StartSessionResponse),
    "Control": (lambda client: client.control("s", tts.ControlCommand.STOP), tts.ControlResponse),
    "LoadModel": (lambda client: client.load_model("m"), tts.LoadModelResponse),
    "UnloadModel": (lambda client: client.unload_model("m"), tts.UnloadModelResponse),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("code", sorted(ERRORS))
async def test_a_refusal_is_raised_as_its_error(name, code):
    call, response = CALLS[name]
    client = TTSClient(FixedChannel(response(success=False, message="because", error=tts.ErrorCode(int(code)))))
    with pytest.raises(ERRORS[code], match="because"):
        await call(client)


@pytest.mark.parametrize("name", CALLS)
async def test_a_successful_response_is_returned(name):
    call, response = CALLS[name]
    channel = FixedChannel(response(success=True))
    await call(TTSClient(channel))
    assert [path for path, _ in channel.requests] == [f"/tts.TTSService/{name}"]


async def test_a_session_is_started_with_its_options():
    channel = FixedChannel(tts.StartSessionResponse(success=True, message="started"))
    assert await TTSClient(channel).start_session("s", "m", {"speed": "2"}) == "started"
    assert channel.requests[0][1] == tts.StartSessionRequest(session_id="s", model_id="m", options={"speed": "2"})


async def test_the_end_of_an_unknown_session_names_it():
    client = TTSClient(FixedChannel(tts.EndSessionResponse(success=False, error=tts.ErrorCode.NOT_FOUND)))
    with pytest.raises(NotFoundError, match="no session 'gone'"):
        await client.end_session("gone")


async def test_a_worker_of_another_version_that_gives_no_code_is_unavailable():
    client = TTSClient(FixedChannel(tts.ControlResponse(success=False, message="no")))
    with pytest.raises(UnavailableError, match="no"):
        await client.control("s", tts.ControlCommand.PAUSE)


async def test_force_and_preload_only_are_passed_on():
    channel = FixedChannel(tts.UnloadModelResponse(success=True))
    await TTSClient(channel).unload_model("m")
    assert channel.metadata == {}
    await TTSClient(channel).unload_model("m", force=True)
    assert channel.metadata == {"force": "true"}
    channel = FixedChannel(tts.LoadModelResponse(success=True))
    await TTSClient(channel).load_model("m", preload_only=True)
    assert channel.requests[0][1].preload_only


async def test_lists_are_returned_unchanged():
    models = [tts.ModelInfo(model_id="a"), tts.ModelInfo(model_id="b")]
    assert await TTSClient(FixedChannel(tts.ListModelsResponse(models=models))).list_models() == models
    response = tts.GetCapabilitiesResponse(resident_models=["a"])
    assert await TTSClient(FixedChannel(response)).capabilities() == response


async def test_synthesize_is_a_stream_of_chunks_and_frames():
    channel = FixedChannel(None)
    async with TTSClient(channel).synthesize() as call:
        assert call == "a call"
    assert channel.requests == [("/tts.TTSService/Synthesize", tts.TextChunk, tts.AudioFrame)]


@pytest.mark.parametrize("code", sorted(ERRORS))
async def test_a_status_is_raised_as_its_error(code):
    with pytest.raises(ERRORS[code], match="because"):
        async with translated():
            raise GRPCError(STATUS[code], "because")


@pytest.mark.parametrize("status", [Status.UNKNOWN, Status.DEADLINE_EXCEEDED, Status.UNIMPLEMENTED])
async def test_a_status_that_we_never_give_is_internal(status):
    with pytest.raises(InternalError, match=status.name):
        async with translated():
            raise GRPCError(status)


async def test_an_address_without_a_worker_is_unavailable():
    with pytest.raises(UnavailableError):
        async with open_client("127.0.0.1", 1) as client:
            await client.capabilities()


def test_every_code_can_be_raised():
    assert set(ERRORS) == set(ErrorCode) - {ErrorCode.OK}
