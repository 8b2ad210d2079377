"""The sessions there are: starts them, finds them, ends them. Owner of every session's task and lease."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Protocol, Self

import structlog
import trio

from ttsw.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError, TtswError
from ttsw.sessions.admission import Turnover, admit
from ttsw.sessions.frame_timer import FrameTimer
from ttsw.sessions.session import ConnectionLink, Session
from ttsw.sessions.voice import Voice
from ttsw.system.terminal import is_safe
from ttsw.telemetry.snapshot import FrameCounter

log = structlog.get_logger(__name__)

LONGEST_ID = 256
"""Characters of a session's id."""


class VoiceLease(Protocol):
    """A voice that is lent."""

    @property
    def value(self) -> Voice:
        """The voice."""
        ...

    def release(self) -> None:
        """Give it back; a second time is no fault."""
        ...


class LeaseModel(Protocol):
    """Lends a model, loading it first where needed."""

    async def __call__(self, model_id: str, *, holder: str, fresh: bool, revoked: Callable[[], None]) -> VoiceLease:
        """Lend it to `holder`; a fresh load of it if `fresh`. `revoked` is called when it should be given back soon."""
        ...


@dataclass(eq=False, slots=True)
class _Place:
    """A place taken from admission to the session's end, so that a session that starts is counted once.

    Args:
        model_id: The model of the session.
        session: The session; None while it starts.
    """

    model_id: str
    session: Session | None = None


class SessionTable:
    """All sessions of a worker.

    Args:
        lend: Lends the models.
        limit_of: How many sessions a model takes where it has the worker to itself; see `ttsw.sessions.admission`.
        mixed: How many there may be at once on several models.
        idle_timeout_s: How long one may be without activity, s.
        orphan_timeout_s: How long one may be idle once its last connection is gone, s.
        lead_ms: Default lead of `pacing=realtime`, ms.
        most_characters: Longest text of one utterance.
        tally: Counts the frames.
    """

    def __init__(
        self,
        lend: LeaseModel,
        *,
        limit_of: Callable[[str], int],
        mixed: float = math.inf,
        idle_timeout_s: float,
        orphan_timeout_s: float = math.inf,
        lead_ms: float = 40.0,
        most_characters: int = 100_000,
        tally: FrameCounter | None = None,
    ) -> None:
        self._limit_of, self._mixed = limit_of, mixed
        self.draining = False
        self._lend = lend
        self._idle_timeout_s, self._orphan_timeout_s = idle_timeout_s, orphan_timeout_s
        self._lead_ms, self._most_characters = lead_ms, most_characters
        self._tally = tally
        self._sessions: dict[str, _Place] = {}
        self._turnover = Turnover()
        self._serial = count(1)
        self._metronome = FrameTimer()
        self._nursery: trio.Nursery | None = None

    def __repr__(self) -> str:
        return f"<SessionTable {len(self)}, {self.speaking} speaking, {len(self._sessions) - len(self)} starting>"

    def __len__(self) -> int:
        return len(self._started())

    @property
    def speaking(self) -> int:
        """Utterances under way."""
        return sum(session.utterance is not None for session in self._started())

    def _started(self) -> list[Session]:
        return [place.session for place in self._sessions.values() if place.session is not None]

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the sessions until cancelled."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await self._metronome.run()

    async def start(
        self, session_id: str, model_id: str, options: Mapping[str, str], link: ConnectionLink | None = None
    ) -> Session:
        """Start a session; waits where its model must be loaded first.

        Args:
            session_id: The client's name for it.
            model_id: The model it speaks with.
            options: Its options.
            link: The client's connection; None for a session without one, which is never an orphan.

        Raises:
            InvalidArgumentError: The id or an option isn't valid.
            AlreadyExistsError: There is a session with this id.
            ResourceExhaustedError: All sessions are taken, or there is no room for the model.
            UnavailableError: The worker is draining.
            NotFoundError: There is no such model, or no such recording to speak like.
        """
        check_session_id(session_id)
        if session_id in self._sessions:
            raise AlreadyExistsError(f"a session {session_id!r} exists; end it first, or choose another id")
        self._admit(model_id)
        assert self._nursery is not None, "the table is not running"
        place = self._sessions[session_id] = _Place(model_id)
        name = f"session {session_id}"
        try:
            session: Session = await self._nursery.start(self._run, session_id, place, options, link, name=name)
        except BaseException:
            self._free(session_id, place)
            raise
        return session

    def _admit(self, model_id: str) -> None:
        active = Counter(place.model_id for place in self._sessions.values())
        limit_of, mixed, sessions = self._limit_of, self._mixed, self._started()

        def retry_s() -> float:
            return self._turnover.next_end_s((session.age_s, session.expires_s) for session in sessions)

        admit(model_id, active, limit_of, mixed=mixed, draining=self.draining, retry_s=retry_s)

    def _free(self, session_id: str, place: _Place) -> None:
        if self._sessions.get(session_id) is place:  # otherwise it was ended, and the id may be another's
            del self._sessions[session_id]

    def __getitem__(self, session_id: str) -> Session:
        """Find a session.

        Raises:
            NotFoundError: There is none with this id.
        """
        place = self._sessions.get(session_id)
        if place is None or place.session is None:
            raise NotFoundError(f"no session {session_id!r}: it never started, was ended, or was idle for too long")
        return place.session

    def end(self, session_id: str, failure: TtswError | None = None) -> None:
        """End a session; its speech stops, with `failure` as status where there is one, and its id is free at once.

        Raises:
            NotFoundError: There is none with this id.
        """
        session = self[session_id]
        del self._sessions[session_id]
        session.end(failure)

    def end_all(self, failure: TtswError) -> int:
        """End every session; running speech ends with `failure` as status. Returns how many were speaking."""
        cut = self.speaking
        for session in self._started():
            self.end(session.session_id, failure)
        return cut

    async def _run(
        self,
        session_id: str,
        place: _Place,
        options: Mapping[str, str],
        link: ConnectionLink | None,
        *,
        task_status: trio.TaskStatus[Session] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        structlog.contextvars.bind_contextvars(session_id=session_id)
        model_id = place.model_id
        with _Borrower(self._lend, model_id, f"session {session_id}") as borrower:
            voice = await borrower.voice(fresh=False)
            # not by its id alone, which another session may have once this one has ended
            known_as = f"{session_id}#{next(self._serial)}"
            parsed = voice.parse_options(options, lead_ms=self._lead_ms, session=known_as)
            await voice.prepare(parsed)
            session = place.session = Session(
                session_id,
                model_id,
                parsed,
                borrower.voice,
                self._metronome,
                idle_timeout_s=self._idle_timeout_s,
                orphan_timeout_s=self._orphan_timeout_s,
                link=link,
                most_characters=self._most_characters,
                fell_silent=borrower.may_give_back,
                tally=self._tally,
            )
            try:
                await session.run(task_status=task_status)
            except Exception:  # its own speech has failed, and its siblings go on
                log.exception("session failed")
            finally:
                self._turnover.ended(session.age_s)
                self._free(session_id, place)


class _Borrower:
    """Holds the model of a session: one at a time, another after a reload; none once it was asked back.

    A session that speaks gives back when it has spoken. Its next utterance borrows anew.
    """

    def __init__(self, lend: LeaseModel, model_id: str, holder: str) -> None:
        self._lend, self._model_id, self._holder = lend, model_id, holder
        self._loan: VoiceLease | None = None
        self._speaking = self._wanted_back = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._give_back()

    async def voice(self, *, fresh: bool) -> Voice:
        self._speaking = True
        if fresh or self._wanted_back:
            self._give_back()  # first, since there may not be room for two
        if self._loan is None:
            loan = await self._lend(self._model_id, holder=self._holder, fresh=fresh, revoked=self._revoke)
            self._keep(loan)
            return loan.value
        return self._loan.value

    def _keep(self, loan: VoiceLease) -> None:
        stale, self._loan = self._loan, loan
        if stale is not None:  # an utterance that was stopped in this moment has borrowed, too
            stale.release()

    def may_give_back(self) -> None:
        self._speaking = False
        if self._wanted_back:
            self._give_back()

    def _revoke(self) -> None:
        self._wanted_back = True
        if not self._speaking:
            self._give_back()

    def _give_back(self) -> None:
        loan, self._loan, self._wanted_back = self._loan, None, False
        if loan is not None:
            loan.release()


def check_session_id(session_id: str) -> None:
    """Return if this may name a session.

    Raises:
        InvalidArgumentError: It is empty, too long, or not printable.
    """
    if not session_id:
        raise InvalidArgumentError("session_id is empty; choose a name for the session")
    if len(session_id) > LONGEST_ID or not is_safe(session_id):
        raise InvalidArgumentError(f"session_id must be 1 to {LONGEST_ID} printable characters")
