"""A client of tts.TTSService on trio, for the command line, the benches and programs on trio.

Decides nothing: it names the methods. Answers that say no are raised as the worker's own errors.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from ttsw.errors import ERRORS, ErrorCode, InternalError, TtswError, UnavailableError
from ttsw.fronts.abi.generated.tts import (
    AudioFrame,
    ControlCommand,
    ControlRequest,
    ControlResponse,
    EndSessionRequest,
    EndSessionResponse,
    GetCapabilitiesRequest,
    GetCapabilitiesResponse,
    ListModelsRequest,
    ListModelsResponse,
    LoadModelRequest,
    LoadModelResponse,
    ModelInfo,
    StartSessionRequest,
    StartSessionResponse,
    TextChunk,
    UnloadModelRequest,
    UnloadModelResponse,
)
from ttsw.fronts.abi.status import STATUS
from ttsw.grpc_trio import Call, Channel, open_channel
from ttsw.grpc_trio.client import Message

PATH = "/tts.TTSService/"

ERRORS_BY_NUMBER = {int(code): error for code, error in ERRORS.items()}
"""What a refusal's code is raised as; a worker newer than this client may have others."""

Reply = TypeVar("Reply", bound=Message)


Answer = TypeVar(
    "Answer", StartSessionResponse, EndSessionResponse, ControlResponse, LoadModelResponse, UnloadModelResponse
)


class TTSClient:
    """The service's methods on one channel.

    Each raises the error that the worker answered with (`NotFoundError`, `ResourceExhaustedError` …), and
    `UnavailableError` where there is no worker to answer.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def start_session(self, session_id: str, model_id: str = "", options: Mapping[str, str] | None = None) -> str:
        """Open a session; returns what the worker says of it."""
        request = StartSessionRequest(session_id=session_id, model_id=model_id, options=dict(options or {}))
        answer = await self._unary("StartSession", request, StartSessionResponse)
        return _accepted(answer, answer.message).message

    async def end_session(self, session_id: str) -> None:
        """End a session."""
        answer = await self._unary("EndSession", EndSessionRequest(session_id=session_id), EndSessionResponse)
        _accepted(answer, f"no session {session_id!r}")

    async def control(self, session_id: str, command: ControlCommand) -> ControlResponse:
        """Pause, resume, stop or reload."""
        request = ControlRequest(session_id=session_id, command=command)
        answer = await self._unary("Control", request, ControlResponse)
        return _accepted(answer, answer.message)

    async def list_models(self) -> list[ModelInfo]:
        """Tell every voice pack of the worker."""
        return (await self._unary("ListModels", ListModelsRequest(), ListModelsResponse)).models

    async def load_model(self, model_id: str, *, preload_only: bool = False) -> LoadModelResponse:
        """Have a model loaded; with `preload_only`, if there is free room for it."""
        request = LoadModelRequest(model_id=model_id, preload_only=preload_only)
        answer = await self._unary("LoadModel", request, LoadModelResponse)
        return _accepted(answer, answer.message)

    async def unload_model(self, model_id: str, *, force: bool = False) -> None:
        """Have a model unloaded; by `force` even if it is in use, as soon as what it says has been said."""
        metadata = {"force": "true"} if force else {}
        request = UnloadModelRequest(model_id=model_id)
        answer = await self._unary("UnloadModel", request, UnloadModelResponse, metadata)
        _accepted(answer, answer.message)

    async def capabilities(self) -> GetCapabilitiesResponse:
        """Tell what the worker can do, and how it does."""
        return await self._unary("GetCapabilities", GetCapabilitiesRequest(), GetCapabilitiesResponse)

    def synthesize(self) -> AbstractAsyncContextManager[Call[TextChunk, AudioFrame]]:
        """Open a Synthesize: send TextChunks, receive AudioFrames. Wrap it in `translated` for our errors."""
        return self._channel.stream(PATH + "Synthesize", TextChunk, AudioFrame)

    async def _unary(
        self, name: str, request: Message, reply: type[Reply], metadata: Mapping[str, str] | None = None
    ) -> Reply:
        async with translated():
            return await self._channel.unary(PATH + name, request, reply, metadata=metadata or {})


@asynccontextmanager
async def open_client(host: str, port: int) -> AsyncGenerator[TTSClient, None]:
    """Connect to a worker.

    Raises:
        UnavailableError: There is none at this address.
    """
    async with translated(), open_channel(host, port) as channel:
        yield TTSClient(channel)


@asynccontextmanager
async def translated() -> AsyncGenerator[None, None]:
    """Raise a status that ends a call as the error of ours that it stands for."""
    try:
        yield
    except GRPCError as error:
        raise _from_status(error.status, error.message or error.status.name) from error


def _from_status(status: Status, message: str) -> TtswError:
    codes = {known: code for code, known in STATUS.items()}
    return ERRORS.get(codes.get(status, ErrorCode.INTERNAL), InternalError)(message)


def _accepted(answer: Answer, message: str) -> Answer:
    if not answer.success:
        raise ERRORS_BY_NUMBER.get(int(answer.error), UnavailableError)(message)
    return answer
