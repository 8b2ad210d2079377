"""One utterance: text in, as it arrives; frames out, as they are due.

Two tasks cooperate. `produce` runs in the session's nursery and drives the engine; `emit` runs in the listener's task
(an RPC) and sends. A bounded buffer connects them, so that a listener that stops reading costs a bounded number of
frames, and STOP ends the listener's stream at once while the engine's step finishes elsewhere.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

import structlog
import trio

from ttsw.audio import Chain
from ttsw.errors import InternalError, InvalidArgumentError, TtswError
from ttsw.sessions.frame_timer import FrameTimer
from ttsw.sessions.frames import Frame, FrameBuffer
from ttsw.sessions.options import SessionOptions
from ttsw.sessions.pacing import Pacer
from ttsw.sessions.voice import Voice
from ttsw.telemetry.snapshot import FrameCounter
from ttsw.telemetry.tracing import NO_TRACE, UtteranceTrace
from ttsw.text import Segmenter, clean, has_speech, unreadable, without_unreadable
from ttsw.units import FRAME_S

GOODBYE_S = 5.0
"""Longest wait for a stopped listener to accept the end marker, seconds."""

READ_AHEAD = 4
"""Most chunks of text read ahead of the engine."""

BUFFERED_S = 1.0
"""Audio synthesised ahead of the listener at which the engine pauses, seconds."""

MOST_AT_ONCE = 10
"""Most frames handed to the listener's connection at once."""

PIECE = 500
"""Characters of a long text processed before yielding to other tasks."""

log = structlog.get_logger(__name__)


class EndCause(StrEnum):
    """Why an utterance ended."""

    FINISHED = "finished"
    STOPPED = "stopped"
    CLIENT_LEFT = "client left"
    SESSION_ENDED = "session ended"
    FAILED = "failed"


class Piece(NamedTuple):
    """A piece of the client's text.

    Args:
        text: The text.
        flush: Whether to speak all pending text now, including an unfinished sentence.
    """

    text: str
    flush: bool = False


class FrameSink(Protocol):
    """The receiver of frames: the stream of an RPC, or a channel."""

    def send_nowait(self, frames: list[Frame]) -> bool:
        """Send all frames if there is room; return whether there was."""
        ...

    async def send(self, frames: list[Frame], sent: Callable[[int], None]) -> None:
        """Send frames in order, waiting for room.

        Args:
            frames: The frames.
            sent: Receives the number of frames whenever some have been sent, so that a cancellation leaves none in
                doubt.
        """
        ...


@dataclass
class UtteranceReport:
    """Report on an utterance, for log and metrics. Times are in seconds; `first_s` counts from its beginning."""

    cause: EndCause = EndCause.CLIENT_LEFT
    characters: int = 0
    segments: int = 0
    frames: int = 0
    made: int = 0
    first_s: float | None = None
    compute_s: float = 0.0
    underruns: int = 0
    largest_gap_s: float = 0.0
    duration_s: float = 0.0
    error: str = ""
    unread: dict[str, int] = field(default_factory=dict)
    """Letters left out because the voice can't read them, by script."""

    @property
    def audio_s(self) -> float:
        """Audio sent, seconds."""
        return self.frames * FRAME_S

    @property
    def made_s(self) -> float:
        """Audio synthesised, sent or not, seconds."""
        return self.made * FRAME_S

    @property
    def rtf(self) -> float | None:
        """Compute time divided by the duration of the synthesised audio; None without audio."""
        return self.compute_s / self.made_s if self.made else None


class Utterance:
    """One Synthesize call.

    Args:
        voice: Provides the voice; awaited once, since the model may have to be loaded first.
        options: The session's options.
        metronome: Wakes the utterance when frames are due; must run as long as the utterance.
        most_characters: Longest text; beyond it, further text is refused.
        tally: Counts the frames sent.
    """

    def __init__(
        self,
        voice: Callable[[], Awaitable[Voice]],
        options: SessionOptions,
        metronome: FrameTimer,
        *,
        most_characters: int = 100_000,
        tally: FrameCounter | None = None,
    ) -> None:
        self.report = UtteranceReport()
        self.trace: UtteranceTrace = NO_TRACE
        self.silenced_s: float | None = None
        self._tally = tally or FrameCounter()
        self._silencing: float | None = None
        self.failure: TtswError | None = None
        self.began = self._touched = self._fed = trio.current_time()
        self._busy = False
        self._voice, self._options, self._most_characters = voice, options, most_characters
        self._pacer, self._metronome = Pacer(options.lead_s), metronome
        self._buffer = FrameBuffer(round(BUFFERED_S / FRAME_S))
        self._segmenter = Segmenter()
        self._text_in, self._text_out = trio.open_memory_channel[Piece](READ_AHEAD)
        self._production, self._emission, self._sending = trio.CancelScope(), trio.CancelScope(), trio.CancelScope()
        self._paused = False
        self._stopped = False

    def __repr__(self) -> str:
        state = "stopped" if self._stopped else "paused" if self._paused else "speaking"
        return f"<Utterance {state}, {self.last_sequence} frames sent, {self._buffer!r}>"

    @property
    def last_sequence(self) -> int:
        """Number of the last frame sent; 0 if none was sent."""
        return self._buffer.taken

    @property
    def touched(self) -> float:
        """Time of the last activity: text received, a frame sent, a step of the engine."""
        return trio.current_time() if self._busy else self._touched

    # Called by the listener's task.

    async def feed(self, text: str, *, flush: bool = False) -> None:
        """Add a chunk of text; waits while the engine is far behind.

        Args:
            text: The text.
            flush: Whether to speak the pending text now, without waiting for the end of its sentence.

        Raises:
            InvalidArgumentError: The utterance's text is too long.
        """
        self._touched = trio.current_time()
        self.report.characters += len(text)
        if self.report.characters > self._most_characters:
            raise InvalidArgumentError(
                f"the text of one utterance may have {self._most_characters} characters (worker.max_text_chars), "
                "and this one is longer; speak it as several"
            )
        with suppress(trio.BrokenResourceError):  # the engine has finished, so the text is dropped
            await self._text_in.send(Piece(text, flush))
        self._fed = trio.current_time()

    def end_text(self) -> None:
        """Mark the end of the text."""
        self._text_in.close()

    async def emit(self, listener: FrameSink) -> None:
        """Send frames as they are due; return when the last is sent, or when `failure` is set."""
        with self._emission:
            await self._emit(listener)
        if self._stopped and self.failure is None:
            with trio.move_on_after(GOODBYE_S):
                await listener.send([self._buffer.end_marker()], lambda _count: None)
            if self.report.cause is EndCause.STOPPED and self._silencing is not None:
                self.silenced_s = trio.current_time() - self._silencing

    async def _emit(self, listener: FrameSink) -> None:
        # If a wake-up and a STOP arrive in the same tick, the cancellation is delivered only at the next wait.
        while not (self._stopped or self._buffer.ended):
            now = trio.current_time()
            if self._paused or not self._buffer.available:
                await self._buffer.changed()
            elif allowed := min(self._pacer.allowance(now), MOST_AT_ONCE):
                frames = self._buffer.peek(allowed)
                if listener.send_nowait(frames):
                    self._sent(len(frames))
                else:
                    with trio.CancelScope() as self._sending:
                        await listener.send(frames, self._sent)
                if frames[-1].final and frames[-1].sequence == self._buffer.taken:
                    self.report.cause = EndCause.FINISHED
                    return
            else:
                await self._metronome.wait_until(self._pacer.due(now))

    def _sent(self, count: int) -> None:
        now = self._touched = trio.current_time()
        late = self._pacer.late
        self._pacer.count(count, now, excused=self._buffer.excused)
        audible = self._buffer.drop(count)
        self.report.frames += audible
        self._tally.frames += audible
        self._tally.late += self._pacer.late - late
        if self.report.first_s is None and self.report.frames:
            self.report.first_s = now - self.began
            self.trace.first_frame(self.report.first_s)

    # Called by the session.

    def pause(self) -> None:
        """Stop sending, including frames that wait for the listener to read."""
        self._paused = True
        self._pacer.freeze(trio.current_time())
        self._sending.cancel(reason="pause")

    def resume(self) -> None:
        """Continue with the next sample."""
        self._paused = False
        self._pacer.thaw(trio.current_time())
        self._buffer.notify()

    def stop(self, cause: EndCause = EndCause.STOPPED, failure: TtswError | None = None) -> None:
        """End the utterance: the engine leaves it at its next step; the listener gets the end marker, or `failure`."""
        if self._stopped or self.report.cause is EndCause.FINISHED:
            return
        self._stopped, self.failure = True, self.failure or failure
        self._silencing = trio.current_time()
        self.report.cause = cause
        self._production.cancel(reason=cause.value)
        self._emission.cancel(reason=cause.value)

    def leave(self) -> UtteranceReport:
        """End whatever still runs, now that the listener's task has finished, and return the report."""
        self._production.cancel(reason=self.report.cause.value)
        if self.failure is not None:
            self.report.error = str(self.failure)
            if not self._stopped:
                self.report.cause = EndCause.FAILED
        self.report.made = self._buffer.made
        self.report.duration_s = trio.current_time() - self.began
        self.report.underruns, self.report.largest_gap_s = self._pacer.underruns, self._pacer.largest_gap_s
        return self.report

    # Run in the session's nursery.

    async def produce(self) -> None:
        """Drive the engine from the first text to the last frame. Failures go to the listener; none is raised."""
        try:
            with self._production, self._text_out:
                self._busy = True
                voice = await self._voice()
                await self._speak(voice, voice.open_chain(self._options))
                self._buffer.close()
        except TtswError as error:
            self.failure = error
        except Exception as error:
            log.exception("utterance failed")
            self.failure = InternalError(f"the worker failed to speak: {type(error).__name__}: {error}")
        finally:
            self._busy = False
        if self.failure is not None:
            self._buffer.break_off()

    async def _speak(self, voice: Voice, chain: Chain) -> None:
        while (piece := await self._next_piece(voice, chain)) is not None:
            for at in range(0, len(piece.text), PIECE):
                await self._say(self._segmenter.push(piece.text[at : at + PIECE]), voice, chain)
                await trio.lowlevel.checkpoint()  # a text without speech has no other checkpoint
            if piece.flush or not self._options.joined:
                await self._say(self._segmenter.finish(), voice, chain)
        await self._say(self._segmenter.finish(), voice, chain)
        if self.report.unread and not self.report.segments:
            raise voice.unread(self.report.unread, self._options)
        self._buffer.put(chain.finish())

    async def _next_piece(self, voice: Voice, chain: Chain) -> Piece | None:
        """Return the next text, None at the end. If none comes for `flush_s`, speak finished sentences meanwhile."""
        with suppress(trio.WouldBlock, trio.EndOfChannel):
            return self._text_out.receive_nowait()
        await self._say(self._segmenter.settle(certain=True), voice, chain)
        if self._segmenter.pending:
            with trio.move_on_at(self._fed + self._options.flush_s):
                return await self._receive()
            await self._say(self._segmenter.settle(certain=False), voice, chain)
        return await self._receive()

    async def _receive(self) -> Piece | None:
        self._busy = False
        self._buffer.starve(True)
        try:
            return await self._text_out.receive()
        except trio.EndOfChannel:
            return None
        finally:
            self._buffer.starve(False)
            self._busy = True

    async def _say(self, segments: list[str], voice: Voice, chain: Chain) -> None:
        for segment in segments:
            text = self._readable(clean(segment), voice)
            if has_speech(text):
                self._buffer.mark_segment(self.report.segments, chain.segment_start)
                self.report.segments += 1
                with self.trace.segment(self.report.segments - 1, len(text)):
                    await voice.speak(text, self._options.engine, chain.push, self._take)
                self._buffer.put(chain.end_segment())

    def _readable(self, text: str, voice: Voice) -> str:
        """Remove and count the letters that the voice can't read."""
        scripts = None if text.isascii() else voice.scripts(self._options)
        if scripts is None or not (unread := unreadable(text, scripts)):
            return text
        for script, count in unread.items():
            self.report.unread[script] = self.report.unread.get(script, 0) + count
        return without_unreadable(text, scripts)

    async def _take(self, pcm: bytes, compute_s: float) -> None:
        self.report.compute_s += compute_s
        self.trace.step(compute_s)
        self._buffer.put(pcm)
        self._busy = False
        await self._buffer.room()
        self._busy = True
