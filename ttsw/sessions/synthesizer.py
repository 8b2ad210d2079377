"""A voice as an object: text in, frames out, with pause, resume and stop. For programs without a server.

It uses the same utterances as a session in a worker, so that the interface of every engine (`synthesize_streaming`,
`pause`, `resume`, `stop`, `warmup`, `model_info`) is implemented once.
"""

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import trio

from ttsw.errors import TtswError
from ttsw.sessions.frame_timer import FrameTimer
from ttsw.sessions.frames import Frame
from ttsw.sessions.options import SessionOptions
from ttsw.sessions.state import SessionEvent, SessionState, move
from ttsw.sessions.utterance import EndCause, Utterance, UtteranceReport
from ttsw.sessions.voice import Voice, warm_up


class Synthesizer:
    """Speaks with one voice, one text at a time; from `ttsw.open_synthesizer`."""

    def __init__(self, voice: Voice, nursery: trio.Nursery) -> None:
        self._voice, self._nursery = voice, nursery
        self._metronome = FrameTimer()
        nursery.start_soon(self._metronome.run)
        self._state = SessionState.IDLE
        self._utterance: Utterance | None = None
        self.report: UtteranceReport | None = None
        """Report on the latest finished text."""

    @property
    def model_info(self) -> dict[str, Any]:
        """The model's description and capabilities."""
        return dict(self._voice.host.model.info)

    async def warmup(self, text: str) -> None:
        """Speak a text without a listener, to warm the model up."""
        await warm_up(self._voice.host, (text,), self._voice.defaults)

    async def pause(self) -> None:
        """Hold back frames from now on; while idle, those of the next text."""
        self._state = move(self._state, SessionEvent.PAUSED)
        if self._utterance is not None:
            self._utterance.pause()

    async def resume(self) -> None:
        """Continue with the next sample."""
        self._state = move(self._state, SessionEvent.RESUMED)
        if self._utterance is not None:
            self._utterance.resume()

    async def stop(self) -> None:
        """Stop the current text and discard the rest of it."""
        self._state = move(self._state, SessionEvent.STOPPED)
        if self._utterance is not None:
            self._utterance.stop()
            self._utterance = None

    async def synthesize_streaming(
        self, text: str | AsyncIterable[str], session_id: str = "local", options: Mapping[str, str] | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Speak a text, whole or as it arrives.

        Args:
            text: The text; pieces are combined as the option `text_mode` says.
            session_id: Name of the tasks, for debugging.
            options: Session options by name.

        Yields:
            Frames of 1920 bytes: 20 ms of s16le mono at 48 kHz.

        Raises:
            InvalidArgumentError: An option isn't valid.
            FailedPreconditionError: Another text is being spoken.
            InternalError: The engine failed.
        """
        parsed = self._voice.parse_options(options or {}, lead_ms=40.0, session=f"{session_id}#{id(self)}")
        await self._voice.prepare(parsed)
        utterance = self._begin(parsed)
        frames_in, frames_out = trio.open_memory_channel[Frame](0)
        self._nursery.start_soon(utterance.produce, name=f"utterance of {session_id}")
        self._nursery.start_soon(_listen, utterance, text, frames_in, name=f"listener of {session_id}")
        try:
            async for frame in frames_out:
                if frame.pcm:
                    yield frame.pcm
        finally:
            self._finish(utterance)
        if utterance.failure is not None:
            raise utterance.failure

    def _begin(self, options: SessionOptions) -> Utterance:
        self._state = move(self._state, SessionEvent.BEGUN)
        self._utterance = utterance = Utterance(self._give_voice, options, self._metronome)
        if self._state is SessionState.PAUSED:
            utterance.pause()
        return utterance

    def _finish(self, utterance: Utterance) -> None:
        utterance.stop(EndCause.CLIENT_LEFT)  # has no effect if it has ended
        self.report = utterance.leave()
        if self._utterance is utterance:
            self._utterance = None
            self._state = move(self._state, SessionEvent.FINISHED)

    async def _give_voice(self) -> Voice:
        return self._voice


@asynccontextmanager
async def run_synthesizer(voice: Voice) -> AsyncGenerator[Synthesizer, None]:
    """Run a synthesizer for a block; speech still running at its end is stopped."""
    async with trio.open_nursery() as nursery:
        yield Synthesizer(voice, nursery)
        nursery.cancel_scope.cancel(reason="the synthesizer is closed")


class _Channel:
    """Sends frames into a channel one by one, so that none follows a pause or a stop."""

    def __init__(self, frames: trio.MemorySendChannel[Frame]) -> None:
        self._frames = frames

    def send_nowait(self, frames: list[Frame]) -> bool:
        return False

    async def send(self, frames: list[Frame], sent: Callable[[int], None]) -> None:
        for frame in frames:
            await self._frames.send(frame)
            sent(1)


async def _listen(utterance: Utterance, text: str | AsyncIterable[str], frames: trio.MemorySendChannel[Frame]) -> None:
    async with frames, trio.open_nursery() as nursery:
        nursery.start_soon(_feed, utterance, text)
        await utterance.emit(_Channel(frames))
        nursery.cancel_scope.cancel(reason="the last frame is sent")


async def _feed(utterance: Utterance, text: str | AsyncIterable[str]) -> None:
    try:
        if isinstance(text, str):
            await utterance.feed(text)
        else:
            async for piece in text:
                await utterance.feed(piece)
        utterance.end_text()
    except TtswError as error:
        utterance.stop(EndCause.FAILED, error)
