"""One session: its state, its utterance, and its end.

A session belongs to no connection. It ends by EndSession, or when nothing has happened in it for a while; its task ends
with it, and so does all that it has running.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self

import structlog
import trio

from ttsw.errors import FailedPreconditionError, TtswError
from ttsw.sessions.metronome import Metronome
from ttsw.sessions.options import SessionOptions
from ttsw.sessions.state import Event, State, move
from ttsw.sessions.utterance import Cause, Report, Utterance
from ttsw.sessions.voice import Voice
from ttsw.telemetry.figures import Tally
from ttsw.units import FRAME_SAMPLES

log = structlog.get_logger(__name__)


class GiveVoice(Protocol):
    """Gives the voice for an utterance."""

    async def __call__(self, *, fresh: bool) -> Voice:
        """Give it; loaded anew if `fresh`."""
        ...


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a session's audio stood when a command took effect.

    Args:
        last_sequence: Number of the last frame sent in the present or latest utterance; 0 for none.
        message: What the command did, for a person.
    """

    last_sequence: int
    message: str

    @property
    def position_samples(self) -> int:
        """Samples sent up to and including that frame."""
        return self.last_sequence * FRAME_SAMPLES


class Session:
    """What one client has open.

    Args:
        session_id: The client's name for it.
        model_id: The model it speaks with.
        options: Its options.
        voice: Gives the voice for an utterance.
        metronome: Keeps the time for its utterances; runs as long as it does.
        idle_timeout_s: How long it may be without activity, s; `inf` for ever.
        most_characters: Longest text of one utterance.
        fell_silent: Told when it doesn't speak any more, and once it is there.
        tally: Counts the frames.
    """

    def __init__(
        self,
        session_id: str,
        model_id: str,
        options: SessionOptions,
        voice: GiveVoice,
        metronome: Metronome,
        *,
        idle_timeout_s: float = math.inf,
        most_characters: int = 100_000,
        fell_silent: Callable[[], None] = lambda: None,
        tally: Tally | None = None,
    ) -> None:
        self.session_id, self.model_id, self.options = session_id, model_id, options
        self.state = State.IDLE
        self.utterance: Utterance | None = None
        self._voice, self._metronome = voice, metronome
        self._reload = False
        self._last_sequence = 0
        self._idle_timeout_s = idle_timeout_s
        self._most_characters = most_characters
        self._fell_silent = fell_silent
        self._tally = tally
        self._started = self._touched = trio.current_time()
        self._scope = trio.CancelScope()
        self._nursery: trio.Nursery | None = None

    def __repr__(self) -> str:
        return f"<Session {self.session_id!r} on {self.model_id}: {self.state}, {self.utterance!r}>"

    @property
    def age_s(self) -> float:
        """How long it has been there, s."""
        return trio.current_time() - self._started

    async def run(self, *, task_status: trio.TaskStatus[Self] = trio.TASK_STATUS_IGNORED) -> None:
        """Be there until ended, cancelled, or idle for too long."""
        try:
            with self._scope:
                async with trio.open_nursery() as self._nursery:
                    self._fell_silent()
                    task_status.started(self)
                    await self._wait_idle()
                    self.end(
                        FailedPreconditionError(f"the session was idle for {self._idle_timeout_s:g} s and has ended")
                    )
        finally:
            if self.state is not State.ENDED:
                self.end()
            self._nursery = None

    def begin(self) -> Utterance:
        """Begin an utterance; `emit` it, and then `finish` it whatever happened.

        Raises:
            IllegalMoveError: The session is speaking, or has ended.
        """
        self._move(Event.BEGUN)
        fresh, self._reload = self._reload, False
        utterance = Utterance(
            lambda: self._voice(fresh=fresh),
            self.options,
            self._metronome,
            most_characters=self._most_characters,
            tally=self._tally,
        )
        if self.state is State.PAUSED:
            utterance.pause()
        self.utterance = utterance
        assert self._nursery is not None, "a session that may begin is running"
        self._nursery.start_soon(utterance.produce, name=f"utterance of {self.session_id}")
        return utterance

    def finish(self, utterance: Utterance) -> Report:
        """The listener is done with an utterance."""
        if self.utterance is utterance:
            self.utterance = None
            self._last_sequence = utterance.last_sequence
            if self.state is not State.ENDED:
                self._move(Event.FINISHED)
        if self.utterance is None:
            self._fell_silent()
        return utterance.leave()

    def pause(self) -> Standing:
        """Stop sending at a frame's end; while idle, hold the next utterance."""
        self._move(Event.PAUSED)
        if self.utterance is not None:
            self.utterance.pause()
        return self._standing("paused" if self.utterance else "idle; the next utterance waits for RESUME")

    def resume(self) -> Standing:
        """Go on with the next sample."""
        self._move(Event.RESUMED)
        if self.utterance is not None:
            self.utterance.resume()
        return self._standing("speaking" if self.utterance else "idle")

    def stop(self) -> Standing:
        """End the utterance; the session is usable at once."""
        self._move(Event.STOPPED)
        standing = self._standing("stopped" if self.utterance else "idle; there was nothing to stop")
        if self.utterance is not None:
            self.utterance.stop()
            self.utterance = None
        return standing

    def reload(self) -> Standing:
        """Let the next utterance speak with a freshly loaded model."""
        self._move(Event.RELOADED)
        self._reload = True
        return self._standing("the next utterance speaks with a freshly loaded model")

    def end(self, failure: TtswError | None = None) -> None:
        """End the session: its speech stops, with `failure` as status where there is one; its task ends."""
        if self.state is not State.ENDED:
            self._move(Event.ENDED)
        if self.utterance is not None:
            self.utterance.stop(Cause.SESSION_ENDED, failure)
        self._scope.cancel(reason="session ended")

    async def _wait_idle(self) -> None:
        while True:
            expires = self._idle_timeout_s + max(self._touched, self.utterance.touched if self.utterance else 0.0)
            if trio.current_time() >= expires:
                return
            await trio.sleep_until(expires)

    def _move(self, event: Event) -> None:
        self.state = move(self.state, event)
        self._touched = trio.current_time()

    def _standing(self, message: str) -> Standing:
        if self.utterance is not None:
            self._last_sequence = self.utterance.last_sequence
        return Standing(self._last_sequence, message)
