"""The client raises what the worker answered with; a channel that gives set answers stands in for the worker."""

from contextlib import asynccontextmanager

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from ttsw.errors import ERRORS, ErrorCode, InternalError, NotFoundError, UnavailableError
from ttsw.fronts.abi.client import TTSClient, open_client, translated
from ttsw.fronts.abi.generated import tts
from ttsw.fronts.abi.status import STATUS


class FixedChannel:
    """Answers every unary call with the same message, or the same error."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = []

    async def unary(self, path, request, reply, *, metadata):
        self.asked.append((path, request))
        self.metadata = metadata
        if isinstance(self.answer, Exception):
            raise self.answer
        assert isinstance(self.answer, reply)
        return self.answer

    @asynccontextmanager
    async def stream(self, *types):
        self.asked.append(types)
        yield "a call"


CALLS = {
    "StartSession": (lambda client: client.start_session("s", "m", {"speed": "2"}), tts.StartSessionResponse),
    "Control": (lambda client: client.control("s", tts.ControlCommand.STOP), tts.ControlResponse),
    "LoadModel": (lambda client: client.load_model("m"), tts.LoadModelResponse),
    "UnloadModel": (lambda client: client.unload_model("m"), tts.UnloadModelResponse),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("code", sorted(ERRORS))
async def test_an_answer_that_says_no_is_raised_as_its_error(name, code):
    call, answer = CALLS[name]
    client = TTSClient(FixedChannel(answer(success=False, message="because", error=tts.ErrorCode(int(code)))))
    with pytest.raises(ERRORS[code], match="because"):
        await call(client)


@pytest.mark.parametrize("name", CALLS)
async def test_an_answer_that_says_yes_is_returned(name):
    call, answer = CALLS[name]
    channel = FixedChannel(answer(success=True))
    await call(TTSClient(channel))
    assert [path for path, _ in channel.asked] == [f"/tts.TTSService/{name}"]


async def test_a_session_is_started_with_its_options():
    channel = FixedChannel(tts.StartSessionResponse(success=True, message="it speaks"))
    assert await TTSClient(channel).start_session("s", "m", {"speed": "2"}) == "it speaks"
    assert channel.asked[0][1] == tts.StartSessionRequest(session_id="s", model_id="m", options={"speed": "2"})


async def test_the_end_of_an_unknown_session_names_it():
    client = TTSClient(FixedChannel(tts.EndSessionResponse(success=False, error=tts.ErrorCode.NOT_FOUND)))
    with pytest.raises(NotFoundError, match="no session 'gone'"):
        await client.end_session("gone")


async def test_a_worker_of_another_version_that_gives_no_code_is_unavailable():
    client = TTSClient(FixedChannel(tts.ControlResponse(success=False, message="no")))
    with pytest.raises(UnavailableError, match="no"):
        await client.control("s", tts.ControlCommand.PAUSE)


async def test_force_and_foresight_are_passed_on():
    channel = FixedChannel(tts.UnloadModelResponse(success=True))
    await TTSClient(channel).unload_model("m")
    assert channel.metadata == {}
    await TTSClient(channel).unload_model("m", force=True)
    assert channel.metadata == {"force": "true"}
    channel = FixedChannel(tts.LoadModelResponse(success=True))
    await TTSClient(channel).load_model("m", preload_only=True)
    assert channel.asked[0][1].preload_only


async def test_lists_are_told_as_they_come():
    models = [tts.ModelInfo(model_id="a"), tts.ModelInfo(model_id="b")]
    assert await TTSClient(FixedChannel(tts.ListModelsResponse(models=models))).list_models() == models
    told = tts.GetCapabilitiesResponse(resident_models=["a"])
    assert await TTSClient(FixedChannel(told)).capabilities() == told


async def test_synthesize_is_a_stream_of_chunks_and_frames():
    channel = FixedChannel(None)
    async with TTSClient(channel).synthesize() as call:
        assert call == "a call"
    assert channel.asked == [("/tts.TTSService/Synthesize", tts.TextChunk, tts.AudioFrame)]


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


async def test_nobody_at_an_address_is_unavailable():
    with pytest.raises(UnavailableError):
        async with open_client("127.0.0.1", 1) as client:
            await client.capabilities()


def test_every_code_can_be_raised():
    assert set(ERRORS) == set(ErrorCode) - {ErrorCode.OK}
