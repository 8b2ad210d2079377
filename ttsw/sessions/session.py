"""One session: its state, its current utterance, and its timeouts.

A session belongs to no connection. It ends by EndSession or after a period without activity, together with its tasks.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self

import structlog
import trio

from ttsw.errors import FailedPreconditionError, TtswError
from ttsw.sessions.frame_timer import FrameTimer
from ttsw.sessions.options import SessionOptions
from ttsw.sessions.state import SessionEvent, SessionState, move
from ttsw.sessions.utterance import EndCause, Utterance, UtteranceReport
from ttsw.sessions.voice import Voice
from ttsw.telemetry.snapshot import FrameCounter
from ttsw.units import FRAME_SAMPLES

log = structlog.get_logger(__name__)


OVERLAP_S = 0.25
"""How long a second Synthesize waits for the first one to end before it is refused, seconds."""


class VoiceSource(Protocol):
    """Provides the voice for an utterance."""

    async def __call__(self, *, fresh: bool) -> Voice:
        """Return the voice, newly loaded if `fresh`."""
        ...


class ConnectionLink(Protocol):
    """A client's connection."""

    async def wait_closed(self) -> None:
        """Wait until the connection is closed or lost."""
        ...


@dataclass(frozen=True, slots=True)
class SessionStatus:
    """The session's state when a command took effect.

    Args:
        last_sequence: Number of the last frame sent in the current or latest utterance; 0 if none was sent.
        message: Effect of the command, in words.
    """

    last_sequence: int
    message: str

    @property
    def position_samples(self) -> int:
        """Number of samples sent, up to and including that frame."""
        return self.last_sequence * FRAME_SAMPLES


class Session:
    """A client's session.

    Args:
        session_id: The client's name for the session.
        model_id: The model.
        options: The session's options.
        voice: Provides the voice for each utterance.
        frame_timer: Wakes the utterances when frames are due; must run as long as the session.
        idle_timeout_s: Longest inactivity, seconds; `inf` disables the timeout.
        orphan_timeout_s: Longest inactivity after the last connection has closed, seconds; `inf` disables the timeout.
        link: The connection over which the session was started.
        most_characters: Longest text of one utterance, characters.
        on_idle: Called when an utterance has ended, and once the session has started.
        tally: Counts the frames sent.
    """

    def __init__(
        self,
        session_id: str,
        model_id: str,
        options: SessionOptions,
        voice: VoiceSource,
        frame_timer: FrameTimer,
        *,
        idle_timeout_s: float = math.inf,
        orphan_timeout_s: float = math.inf,
        link: ConnectionLink | None = None,
        most_characters: int = 100_000,
        on_idle: Callable[[], None] = lambda: None,
        tally: FrameCounter | None = None,
    ) -> None:
        self.session_id, self.model_id, self.options = session_id, model_id, options
        self.state = SessionState.IDLE
        self.utterance: Utterance | None = None
        self._voice, self._frame_timer = voice, frame_timer
        self._reload = False
        self._last_sequence = 0
        self._idle_timeout_s, self._orphan_timeout_s = idle_timeout_s, orphan_timeout_s
        self._links: set[ConnectionLink] = set()
        self._first_link = link
        self._orphaned: float | None = None
        self._silent = trio.lowlevel.ParkingLot()
        self._links_changed = trio.lowlevel.ParkingLot()
        self._most_characters = most_characters
        self._on_idle = on_idle
        self._tally = tally
        self._started = self._touched = trio.current_time()
        self._scope = trio.CancelScope()
        self._nursery: trio.Nursery | None = None

    def __repr__(self) -> str:
        return f"<Session {self.session_id!r} on {self.model_id}: {self.state}, {self.utterance!r}>"

    @property
    def age_s(self) -> float:
        """Age of the session, seconds."""
        return trio.current_time() - self._started

    @property
    def expires_s(self) -> float:
        """Time until the session ends unless it is used, seconds."""
        return self._expires() - trio.current_time()

    async def run(self, *, task_status: trio.TaskStatus[Self] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the session until it is ended, cancelled, or times out."""
        try:
            with self._scope:
                async with trio.open_nursery() as self._nursery:
                    self._on_idle()
                    if self._first_link is not None:
                        self.attach(self._first_link)
                    task_status.started(self)
                    await self._wait_expired()
                    limit_s = self._idle_timeout_s if self._orphaned is None else self._orphan_timeout_s
                    self.end(FailedPreconditionError(f"the session was idle for {limit_s:g} s and has ended"))
        finally:
            if self.state is not SessionState.ENDED:
                self.end()
            self._nursery = None

    def attach(self, link: ConnectionLink) -> None:
        """Register a connection that uses this session; while one is open, the session is no orphan."""
        if link not in self._links and self._nursery is not None and self.state is not SessionState.ENDED:
            self._links.add(link)
            self._orphaned = None
            self._nursery.start_soon(self._watch, link, name=f"connection of {self.session_id}")

    async def wait_silent(self) -> None:
        """Wait until no utterance is in progress, for at most `OVERLAP_S`.

        A client that cancels a call and immediately makes another has abandoned the first one. Its reset may arrive
        after the second call, and the first call's task still has to unwind.
        """
        with trio.move_on_after(OVERLAP_S):
            while self.utterance is not None:
                await self._silent.park()

    def begin(self) -> Utterance:
        """Begin an utterance. The caller must `emit` it, and then `finish` it, whether that succeeded or not.

        Raises:
            IllegalMoveError: The session is speaking, or has ended.
        """
        self._move(SessionEvent.BEGUN)
        fresh, self._reload = self._reload, False
        utterance = Utterance(
            lambda: self._voice(fresh=fresh),
            self.options,
            self._frame_timer,
            most_characters=self._most_characters,
            tally=self._tally,
        )
        if self.state is SessionState.PAUSED:
            utterance.pause()
        self.utterance = utterance
        assert self._nursery is not None, "the session isn't running"
        self._nursery.start_soon(utterance.produce, name=f"utterance of {self.session_id}")
        return utterance

    def finish(self, utterance: Utterance) -> UtteranceReport:
        """Finish an utterance whose emission has ended, and return its report."""
        if self.utterance is utterance:
            self._last_sequence = utterance.last_sequence
            self._detach()
            if self.state is not SessionState.ENDED:
                self._move(SessionEvent.FINISHED)
        if self.utterance is None:
            self._on_idle()
        return utterance.leave()

    def _detach(self) -> None:
        self.utterance = None
        self._silent.unpark_all()

    def pause(self) -> SessionStatus:
        """Stop sending after the current frame; while idle, hold back the next utterance."""
        self._move(SessionEvent.PAUSED)
        if self.utterance is not None:
            self.utterance.pause()
        return self._status("paused" if self.utterance else "idle; the next utterance waits for RESUME")

    def resume(self) -> SessionStatus:
        """Continue with the next sample."""
        self._move(SessionEvent.RESUMED)
        if self.utterance is not None:
            self.utterance.resume()
        return self._status("speaking" if self.utterance else "idle")

    def stop(self) -> SessionStatus:
        """End the utterance; the session can begin another one at once."""
        self._move(SessionEvent.STOPPED)
        status = self._status("stopped" if self.utterance else "idle; there was nothing to stop")
        if self.utterance is not None:
            self.utterance.stop()
            self._detach()
        return status

    def reload(self) -> SessionStatus:
        """Have the model loaded anew for the next utterance."""
        self._move(SessionEvent.RELOADED)
        self._reload = True
        return self._status("the next utterance speaks with a freshly loaded model")

    def end(self, failure: TtswError | None = None) -> None:
        """End the session and its task; running speech stops, with `failure` as its status if given."""
        if self.state is not SessionState.ENDED:
            self._move(SessionEvent.ENDED)
        if self.utterance is not None:
            self.utterance.stop(EndCause.SESSION_ENDED, failure)
        self._scope.cancel(reason="session ended")

    async def _watch(self, link: ConnectionLink) -> None:
        await link.wait_closed()
        self._links.discard(link)
        if not self._links:
            self._orphaned = trio.current_time()
            self._links_changed.unpark_all()

    async def _wait_expired(self) -> None:
        while (expires := self._expires()) > trio.current_time():
            with trio.move_on_at(expires):
                await self._links_changed.park()

    def _expires(self) -> float:
        touched = max(self._touched, self.utterance.touched if self.utterance else 0.0)
        if self._orphaned is None:
            return touched + self._idle_timeout_s
        return min(touched + self._idle_timeout_s, max(touched, self._orphaned) + self._orphan_timeout_s)

    def _move(self, event: SessionEvent) -> None:
        self.state = move(self.state, event)
        self._touched = trio.current_time()

    def _status(self, message: str) -> SessionStatus:
        if self.utterance is not None:
            self._last_sequence = self.utterance.last_sequence
        return SessionStatus(self._last_sequence, message)
