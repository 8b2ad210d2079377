"""tts.TTSService: convert requests, call the worker, and convert its results to responses.

A refusal sets `success` to false in a response that has this field. Synthesize has no such field, and ends with a
status instead.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
import trio
from grpclib.const import Cardinality, Handler
from grpclib.exceptions import GRPCError

from ttsw.errors import InvalidArgumentError, TtswError
from ttsw.fronts.abi.audio_frame import FrameEncoder
from ttsw.fronts.abi.generated.tts import (
    AudioFrame,
    Capabilities,
    ControlCommand,
    ControlRequest,
    ControlResponse,
    EndSessionRequest,
    EndSessionResponse,
    ErrorCode,
    GetCapabilitiesRequest,
    GetCapabilitiesResponse,
    ListModelsRequest,
    ListModelsResponse,
    LoadModelRequest,
    LoadModelResponse,
    StartSessionRequest,
    StartSessionResponse,
    TextChunk,
    TtsServiceBase,
    UnloadModelRequest,
    UnloadModelResponse,
)
from ttsw.fronts.abi.model_info import model_infos
from ttsw.fronts.abi.shared_response import SharedResponse
from ttsw.fronts.abi.status import from_grpc, to_grpc, wire_message
from ttsw.fronts.abi.trailers import trailers
from ttsw.grpc_trio import ServerStream
from ttsw.sessions.frames import Frame
from ttsw.sessions.session import Session, SessionStatus
from ttsw.sessions.utterance import EndCause, Utterance
from ttsw.worker import Worker

COMMANDS: dict[int, Callable[[Session], SessionStatus]] = {
    ControlCommand.PAUSE: Session.pause,
    ControlCommand.RESUME: Session.resume,
    ControlCommand.STOP: Session.stop,
    ControlCommand.RELOAD: Session.reload,
}

NOT_YET_MEASURED = dict.fromkeys(("rtf", "ttfa_ms_p50", "ttfa_ms_p95"), 0.0)
"""Metrics that are always present: 0 until an utterance has been measured."""


class TTSServicer(TtsServiceBase):
    """Implements proto/tts.proto on a `Worker`."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._models, self._capabilities = SharedResponse(self._list_models), SharedResponse(self._get_capabilities)

    def __mapping__(self) -> dict[str, Handler]:
        """Return the service's methods; some use the stream, for encoded frames, the metadata or the connection."""
        overrides = {
            "ListModels": Handler(self._models.send, Cardinality.UNARY_UNARY, ListModelsRequest, ListModelsResponse),
            "GetCapabilities": Handler(
                self._capabilities.send, Cardinality.UNARY_UNARY, GetCapabilitiesRequest, GetCapabilitiesResponse
            ),
            "Synthesize": Handler(self._synthesize, Cardinality.STREAM_STREAM, TextChunk, AudioFrame),
            "StartSession": _unary_handler(self.start_session, StartSessionRequest, StartSessionResponse),
            "Control": _unary_handler(self.control, ControlRequest, ControlResponse),
            "UnloadModel": _unary_handler(self.unload_model, UnloadModelRequest, UnloadModelResponse),
        }
        return super().__mapping__() | {f"/tts.TTSService/{name}": handler for name, handler in overrides.items()}

    async def start_session(
        self, message: StartSessionRequest, stream: ServerStream[Any, Any] | None = None
    ) -> StartSessionResponse:
        """Start a session."""
        link = None if stream is None else stream.link
        try:
            session = await self._worker.start_session(message.session_id, message.model_id, message.options, link)
        except TtswError as error:
            return StartSessionResponse(**self._refuse(error))
        text = f"session {session.session_id} started with model {session.model_id}"
        if language := session.options.language:
            text += f", language {language}"
        return StartSessionResponse(success=True, message=text)

    async def end_session(self, message: EndSessionRequest) -> EndSessionResponse:
        """End a session and stop its speech."""
        try:
            self._worker.sessions.end(message.session_id)
        except TtswError as error:
            return EndSessionResponse(success=False, error=self._refuse(error)["error"])
        return EndSessionResponse(success=True)

    async def control(self, message: ControlRequest, stream: ServerStream[Any, Any] | None = None) -> ControlResponse:
        """Pause, resume, stop or reload a session."""
        received = trio.current_time()
        try:
            session = self._worker.sessions[message.session_id]
            if stream is not None:
                session.attach(stream.link)
            command = COMMANDS.get(message.command)
            if command is None:
                valid = ", ".join(f"{item.name}={item.value}" for item in ControlCommand)
                raise InvalidArgumentError(f"no command {int(message.command)}; valid commands: {valid}")
            pauses_speech = message.command == ControlCommand.PAUSE and session.utterance is not None
            status = command(session)
            if pauses_speech:  # no frame is sent from here on
                self._worker.metrics.barged_in("pause", trio.current_time() - received)
        except TtswError as error:
            return ControlResponse(**self._refuse(error), timestamp_ms=now_ms())
        return ControlResponse(
            success=True,
            message=status.message,
            timestamp_ms=now_ms(),
            last_sequence_number=status.last_sequence,
            position_samples=status.position_samples,
        )

    async def list_models(self, message: ListModelsRequest) -> ListModelsResponse:
        """Return all voice packs, including broken ones with their error."""
        return await self._list_models()

    async def _list_models(self) -> ListModelsResponse:
        catalogue, records = await self._worker.known_models()
        models = self._worker.models
        host_infos = {model_id: voice.host.about for model_id, voice in models.residents.items()}
        engine_infos = self._worker.model_infos()
        limit = self._worker.session_limit
        infos = model_infos(catalogue, models, records, host_infos, engine_infos, session_limit=limit)
        return ListModelsResponse(models=infos)

    async def load_model(self, message: LoadModelRequest) -> LoadModelResponse:
        """Load a model into memory."""
        started = trio.current_time()
        model_id = self._worker.named(message.model_id)
        try:
            await self._worker.models.load(model_id, speculative=message.preload_only)
        except TtswError as error:
            return LoadModelResponse(**self._refuse(error))
        duration_ms = round((trio.current_time() - started) * 1000)
        return LoadModelResponse(success=True, message="loaded", load_duration_ms=duration_ms)

    async def unload_model(
        self, message: UnloadModelRequest, stream: ServerStream[Any, Any] | None = None
    ) -> UnloadModelResponse:
        """Unload an unused model. With the metadata `force`, unload a model in use once it is released."""
        metadata: Mapping[str, Any] = (stream and stream.metadata) or {}
        force = str(metadata.get("force", "")).lower() in {"1", "true", "yes"}
        try:
            await self._worker.models.unload(self._worker.named(message.model_id), force=force)
        except TtswError as error:
            return UnloadModelResponse(**self._refuse(error))
        return UnloadModelResponse(success=True, message="unloaded")

    async def get_capabilities(self, message: GetCapabilitiesRequest) -> GetCapabilitiesResponse:
        """Return the worker's capabilities, resident models and metrics."""
        return await self._get_capabilities()

    async def _get_capabilities(self) -> GetCapabilitiesResponse:
        return GetCapabilitiesResponse(
            capabilities=Capabilities(**await self._worker.capabilities()),
            resident_models=sorted(self._worker.models.residents),
            metrics=NOT_YET_MEASURED | await self._worker.figures(),
        )

    async def _synthesize(self, stream: ServerStream[TextChunk, AudioFrame]) -> None:
        try:
            first = await _receive(stream)
            if first is None:
                raise InvalidArgumentError("the text stream was empty; send a first TextChunk with the session_id")
            structlog.contextvars.bind_contextvars(session_id=first.session_id)
            session, utterance = await self._worker.begin(first.session_id, stream.metadata or {})
            session.attach(stream.link)
            try:
                await _run_utterance(stream, first, utterance)
            finally:
                self._worker.record(session, utterance)
            if utterance.failure is not None:
                raise utterance.failure
            await stream.send_trailing_metadata(metadata=trailers(utterance.report))
        except TtswError as error:
            self._worker.metrics.refused(error.code)
            raise to_grpc(error) from error

    def _refuse(self, error: TtswError) -> dict[str, Any]:
        self._worker.metrics.refused(error.code)
        return refusal(error)


def _unary_handler(
    method: Callable[[Any, ServerStream[Any, Any]], Awaitable[Any]], request: type, reply: type
) -> Handler:
    """Return the handler of a unary method that uses its call's stream."""

    async def run(stream: ServerStream[Any, Any]) -> None:
        await stream.send_message(await method(await stream.recv_message(), stream))

    return Handler(run, Cardinality.UNARY_UNARY, request, reply)


class _FrameSender:
    """Sends frames to the client of a Synthesize call."""

    def __init__(self, stream: ServerStream[TextChunk, AudioFrame], session_id: str) -> None:
        self._stream = stream
        self._encode = FrameEncoder(session_id).encode

    def send_nowait(self, frames: list[Frame]) -> bool:
        return self._stream.send_encoded_nowait([self._encode(frame) for frame in frames])

    async def send(self, frames: list[Frame], sent: Callable[[int], None]) -> None:
        await self._stream.send_encoded([self._encode(frame) for frame in frames], sent)


async def _run_utterance(stream: ServerStream[TextChunk, AudioFrame], first: TextChunk, utterance: Utterance) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_read_text, stream, first, utterance)
        await utterance.emit(_FrameSender(stream, first.session_id))
        nursery.cancel_scope.cancel(reason="last frame sent")


async def _read_text(stream: ServerStream[TextChunk, AudioFrame], first: TextChunk, utterance: Utterance) -> None:
    chunk: TextChunk | None = first
    try:
        while chunk is not None:
            if chunk.session_id not in {first.session_id, ""}:
                raise InvalidArgumentError(
                    f"session_id changed from {first.session_id!r} to {chunk.session_id!r} within one stream; "
                    "a stream belongs to the session of its first TextChunk"
                )
            await utterance.feed(chunk.text, flush=chunk.flush)
            chunk = None if chunk.is_final else await _receive(stream)
        utterance.end_text()
    except TtswError as error:
        utterance.stop(EndCause.FAILED, error)


async def _receive(stream: ServerStream[TextChunk, AudioFrame]) -> TextChunk | None:
    try:
        return await stream.recv_message()
    except GRPCError as error:  # the message was too large, or not a TextChunk
        raise from_grpc(error) from error


def refusal(error: TtswError) -> dict[str, Any]:
    """Return the fields of a response that refuses a request."""
    return {"success": False, "message": wire_message(error), "error": wire_code(error)}


def wire_code(error: TtswError) -> ErrorCode:
    """Return the protobuf error code, which has the same number as `error.code`."""
    return ErrorCode(int(error.code))


def now_ms() -> int:
    """Return the Unix time, ms."""
    return time.time_ns() // 1_000_000
