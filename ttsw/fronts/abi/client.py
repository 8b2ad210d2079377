"""Client for tts.TTSService on trio, for the command line, the benches and trio programs.

Has one method per RPC. A refusal in a response is raised as the corresponding error of `ttsw.errors`.
"""

import secrets
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Self, TypeVar

import trio
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from ttsw.concurrency.unwrap import unwrapped
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

END_S = 1.0
"""Longest wait for a session's end, seconds. The worker ends idle sessions without being asked."""

ERRORS_BY_NUMBER = {int(code): error for code, error in ERRORS.items()}
"""Error class by error code; a worker newer than this client may send other codes."""

Reply = TypeVar("Reply", bound=Message)


Response = TypeVar(
    "Response", StartSessionResponse, EndSessionResponse, ControlResponse, LoadModelResponse, UnloadModelResponse
)


class TTSClient:
    """The service's methods on one channel.

    Each method raises the worker's error (`NotFoundError`, `ResourceExhaustedError` …), or `UnavailableError` if the
    worker can't be reached.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def start_session(self, session_id: str, model_id: str = "", options: Mapping[str, str] | None = None) -> str:
        """Start a session; return the worker's message."""
        request = StartSessionRequest(session_id=session_id, model_id=model_id, options=dict(options or {}))
        response = await self._unary("StartSession", request, StartSessionResponse)
        return _checked(response, response.message).message

    async def end_session(self, session_id: str) -> None:
        """End a session."""
        response = await self._unary("EndSession", EndSessionRequest(session_id=session_id), EndSessionResponse)
        _checked(response, f"no session {session_id!r}")

    async def control(self, session_id: str, command: ControlCommand) -> ControlResponse:
        """Pause, resume, stop or reload a session."""
        request = ControlRequest(session_id=session_id, command=command)
        response = await self._unary("Control", request, ControlResponse)
        return _checked(response, response.message)

    async def list_models(self) -> list[ModelInfo]:
        """Return all voice packs of the worker."""
        return (await self._unary("ListModels", ListModelsRequest(), ListModelsResponse)).models

    async def load_model(self, model_id: str, *, preload_only: bool = False) -> LoadModelResponse:
        """Load a model; with `preload_only`, only into free memory."""
        request = LoadModelRequest(model_id=model_id, preload_only=preload_only)
        response = await self._unary("LoadModel", request, LoadModelResponse)
        return _checked(response, response.message)

    async def unload_model(self, model_id: str, *, force: bool = False) -> None:
        """Unload a model. With `force`, unload a model in use after its current utterances."""
        metadata = {"force": "true"} if force else {}
        request = UnloadModelRequest(model_id=model_id)
        response = await self._unary("UnloadModel", request, UnloadModelResponse, metadata)
        _checked(response, response.message)

    async def capabilities(self) -> GetCapabilitiesResponse:
        """Return the worker's capabilities, resident models and metrics."""
        return await self._unary("GetCapabilities", GetCapabilitiesRequest(), GetCapabilitiesResponse)

    def synthesize(self) -> AbstractAsyncContextManager[Call[TextChunk, AudioFrame]]:
        """Open a Synthesize call: send TextChunks, receive AudioFrames. Wrap it in `translated` to map its errors."""
        return self._channel.stream(PATH + "Synthesize", TextChunk, AudioFrame)

    @asynccontextmanager
    async def speak(
        self, text: str | AsyncIterable[str], model_id: str = "", options: Mapping[str, str] | None = None
    ) -> AsyncGenerator["Speech", None]:
        """Speak a text in a session of its own; leaving the block stops the speech and ends the session.

        Args:
            text: The text, whole or in pieces.
            model_id: The model; empty means the worker's default.
            options: Session options by name.

        Yields:
            An iterator over the frames, as they arrive.

        Raises:
            TtswError: The worker refused the session. Iterating over the frames raises what ends the speech early.
        """
        session_id = f"client-{secrets.token_hex(8)}"
        await self.start_session(session_id, model_id, options)
        try:
            with unwrapped():
                async with self.synthesize() as call, trio.open_nursery() as nursery:
                    nursery.start_soon(_send_text, call, session_id, text)
                    yield Speech(call)
                    nursery.cancel_scope.cancel(reason="the block has ended")
        finally:
            with trio.move_on_after(END_S, shield=True), suppress(TtswError):
                await self.end_session(session_id)

    async def _unary(
        self, name: str, request: Message, reply: type[Reply], metadata: Mapping[str, str] | None = None
    ) -> Reply:
        async with translated():
            return await self._channel.unary(PATH + name, request, reply, metadata=metadata or {})


class Speech:
    """The audio of one text: iterate over its frames, 20 ms each, 1920 bytes of s16le mono at 48 kHz."""

    def __init__(self, call: Call[TextChunk, AudioFrame]) -> None:
        self._call = call

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        async with translated():
            while (frame := await self._call.receive()) is not None:
                if frame.audio_data:
                    return frame.audio_data
        raise StopAsyncIteration


async def _send_text(call: Call[TextChunk, AudioFrame], session_id: str, text: str | AsyncIterable[str]) -> None:
    with suppress(StreamTerminatedError, GRPCError):  # the receiving side raises the call's status
        if isinstance(text, str):
            await call.send(TextChunk(session_id=session_id, text=text, is_final=True))
        else:
            async for piece in text:
                await call.send(TextChunk(session_id=session_id, text=piece))
            await call.send(TextChunk(session_id=session_id, is_final=True))
        await call.end()


@asynccontextmanager
async def open_client(host: str, port: int) -> AsyncGenerator[TTSClient, None]:
    """Connect to a worker.

    Raises:
        UnavailableError: No worker listens at this address.
    """
    async with translated(), open_channel(host, port) as channel:
        yield TTSClient(channel)


@asynccontextmanager
async def translated() -> AsyncGenerator[None, None]:
    """Convert a GRPCError raised in the block to the corresponding TtswError."""
    try:
        yield
    except GRPCError as error:
        raise _from_status(error.status, error.message or error.status.name) from error


def _from_status(status: Status, message: str) -> TtswError:
    codes = {grpc_status: code for code, grpc_status in STATUS.items()}
    return ERRORS.get(codes.get(status, ErrorCode.INTERNAL), InternalError)(message)


def _checked(response: Response, message: str) -> Response:
    if not response.success:
        raise ERRORS_BY_NUMBER.get(int(response.error), UnavailableError)(message)
    return response
