"""Speech for `ttsw say`: from a worker over gRPC, or from a model in this process; the listener can't tell which."""

import secrets
from collections.abc import AsyncIterable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress

import trio
from grpclib.exceptions import GRPCError, StreamTerminatedError

from ttsw.cli.connect import open_worker
from ttsw.config import Config
from ttsw.errors import InvalidArgumentError
from ttsw.fronts.abi.client import TTSClient, translated
from ttsw.fronts.abi.generated.tts import AudioFrame, TextChunk
from ttsw.grpc_trio import Call
from ttsw.sessions.synthesizer import run_synthesizer
from ttsw.worker import Worker

Text = str | AsyncIterable[str]
Hear = Callable[[bytes], None]
"""Called with an empty frame when the text is handed over, and then with each frame's PCM."""


async def speak_at(address: tuple[str, int], text: Text, model_id: str, options: Mapping[str, str], hear: Hear) -> None:
    """Speak through the worker at an address.

    Raises:
        TtswError: There is no worker, or as from `speak_remotely`.
    """
    async with open_worker(address, "speak without one: --local") as client:
        await speak_remotely(client, text, model_id, options, hear)


async def speak_remotely(client: TTSClient, text: Text, model_id: str, options: Mapping[str, str], hear: Hear) -> None:
    """Speak through a worker.

    Raises:
        InvalidArgumentError: Nothing in the text can be spoken by this voice.
        TtswError: The worker refuses, or the speech fails.
    """
    session_id = f"say-{secrets.token_hex(4)}"
    heard = False
    told = await client.start_session(session_id, model_id, options)
    try:
        async with client.synthesize() as call, trio.open_nursery() as nursery:
            nursery.start_soon(_send, call, session_id, text)
            hear(b"")
            async with translated():
                async for frame in call:
                    heard = heard or bool(frame.audio_data)
                    hear(frame.audio_data)
            nursery.cancel_scope.cancel(reason="the worker is done")
    finally:
        await _end(client, session_id)  # noqa: ASYNC102 - it shields itself, with a deadline
    if not heard:
        voice = model_id or told.rpartition(" ")[2]
        spoken = [info.languages for info in await client.list_models() if info.model_id == voice]
        raise speechless(voice, *spoken)


def speechless(model_id: str, languages: Sequence[str] = ()) -> InvalidArgumentError:
    """Make the error of a text in which a voice found nothing to say."""
    can = f", which speaks {', '.join(languages)}" if languages else ""
    return InvalidArgumentError(f"nothing in this text can be spoken by {model_id}{can}; there is no audio")


async def _send(call: Call[TextChunk, AudioFrame], session_id: str, text: Text) -> None:
    with suppress(StreamTerminatedError, GRPCError):  # the call has ended, and who reads it says why
        if isinstance(text, str):
            await call.send(TextChunk(session_id=session_id, text=text, is_final=True))
        else:
            async for piece in text:
                await call.send(TextChunk(session_id=session_id, text=piece))
            await call.send(TextChunk(session_id=session_id, is_final=True))
        await call.end()


async def _end(client: TTSClient, session_id: str) -> None:
    with trio.move_on_after(1, shield=True), suppress(Exception):  # a courtesy: the worker ends idle sessions itself
        await client.end_session(session_id)


async def speak_locally(config: Config, text: Text, options: Mapping[str, str], hear: Hear) -> None:
    """Speak with the configuration's default model, loaded in this process.

    Raises:
        InvalidArgumentError: Nothing in the text can be spoken by this voice.
        TtswError: The model can't be loaded, or the speech fails.
    """
    worker, model_id = Worker(config), config.model_manager.default_model_id
    heard = False
    async with trio.open_nursery() as nursery:
        await nursery.start(worker.run_models)
        async with (
            worker.models.lease(model_id) as voice,
            run_synthesizer(voice) as synthesizer,
        ):
            hear(b"")
            async with aclosing(synthesizer.synthesize_streaming(text, options=options)) as frames:
                async for pcm in frames:
                    heard = heard or bool(pcm)
                    hear(pcm)
            languages = voice.host.model.pack.languages
        nursery.cancel_scope.cancel(reason="spoken")
    if not heard:
        raise speechless(model_id, languages)
