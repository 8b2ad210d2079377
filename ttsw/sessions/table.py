"""The session table: starts, finds and ends sessions, and owns each session's task and voice lease."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count

import structlog
import trio

from ttsw.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError, TtswError
from ttsw.sessions.admission import Turnover, admit
from ttsw.sessions.frame_timer import FrameTimer
from ttsw.sessions.session import ConnectionLink, Session
from ttsw.sessions.state import SessionState
from ttsw.sessions.voice_lease import AcquireVoice, VoiceLease
from ttsw.system.terminal import is_safe
from ttsw.telemetry.snapshot import FrameCounter

log = structlog.get_logger(__name__)

LONGEST_ID = 256
"""Longest session id, characters."""


@dataclass(eq=False, slots=True)
class _Entry:
    """A session's entry, held from admission to the session's end, so that a starting session is counted once.

    Args:
        model_id: The session's model.
        session: The session; None while it starts.
    """

    model_id: str
    session: Session | None = None


class SessionTable:
    """All sessions of a worker.

    Args:
        acquire: Acquires leases on models.
        limit_of: Returns a model's session limit when no other model is in use; see `ttsw.sessions.admission`.
        mixed: Session limit while several models are in use.
        idle_timeout_s: Longest inactivity of a session, seconds.
        orphan_timeout_s: Longest inactivity of a session after its last connection has closed, seconds.
        lead_ms: Default lead of `pacing=realtime`, milliseconds.
        most_characters: Longest text of one utterance, characters.
        tally: Counts the frames sent.
    """

    def __init__(
        self,
        acquire: AcquireVoice,
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
        self._acquire = acquire
        self._idle_timeout_s, self._orphan_timeout_s = idle_timeout_s, orphan_timeout_s
        self._lead_ms, self._most_characters = lead_ms, most_characters
        self._tally = tally
        self._entries: dict[str, _Entry] = {}
        self._turnover = Turnover()
        self._serial = count(1)
        self._frame_timer = FrameTimer()
        self._nursery: trio.Nursery | None = None

    def __repr__(self) -> str:
        return f"<SessionTable {len(self)}, {self.speaking} speaking, {len(self._entries) - len(self)} starting>"

    def __len__(self) -> int:
        return len(self._started())

    @property
    def speaking(self) -> int:
        """Number of utterances in progress."""
        return sum(session.utterance is not None for session in self._started())

    def _started(self) -> list[Session]:
        return [entry.session for entry in self._entries.values() if entry.session is not None]

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the sessions until cancelled."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await self._frame_timer.run()

    async def start(
        self, session_id: str, model_id: str, options: Mapping[str, str], link: ConnectionLink | None = None
    ) -> Session:
        """Start a session, after loading its model if necessary.

        Args:
            session_id: The client's name for the session.
            model_id: The model.
            options: Session options by name.
            link: The client's connection; a session without one is never orphaned.

        Raises:
            InvalidArgumentError: The id or an option isn't valid.
            AlreadyExistsError: A session with this id exists.
            ResourceExhaustedError: The session limit is reached, or the model doesn't fit into memory.
            UnavailableError: The worker is draining.
            NotFoundError: The model, or the reference recording that an option names, doesn't exist.
        """
        check_session_id(session_id)
        if session_id in self._entries:
            raise AlreadyExistsError(f"a session {session_id!r} exists; end it first, or choose another id")
        self._admit(model_id)
        assert self._nursery is not None, "the session table isn't running"
        entry = self._entries[session_id] = _Entry(model_id)
        name = f"session {session_id}"
        try:
            session: Session = await self._nursery.start(self._run, session_id, entry, options, link, name=name)
        except BaseException:
            self._remove(session_id, entry)
            raise
        return session

    def _admit(self, model_id: str) -> None:
        active = Counter(entry.model_id for entry in self._entries.values())
        limit_of, mixed, sessions = self._limit_of, self._mixed, self._started()

        def retry_s() -> float:
            return self._turnover.next_end_s((session.age_s, session.expires_s) for session in sessions)

        admit(model_id, active, limit_of, mixed=mixed, draining=self.draining, retry_s=retry_s)

    def _remove(self, session_id: str, entry: _Entry) -> None:
        if self._entries.get(session_id) is entry:  # an ended session's id may already belong to another one
            del self._entries[session_id]

    def __getitem__(self, session_id: str) -> Session:
        """Return a session.

        Raises:
            NotFoundError: No session has this id.
        """
        entry = self._entries.get(session_id)
        if entry is None or entry.session is None or entry.session.state is SessionState.ENDED:
            raise NotFoundError(f"no session {session_id!r}: it never started, was ended, or was idle for too long")
        return entry.session

    def end(self, session_id: str, failure: TtswError | None = None) -> None:
        """End a session and free its id at once; running speech stops, with `failure` as its status if given.

        Raises:
            NotFoundError: No session has this id.
        """
        session = self[session_id]
        del self._entries[session_id]
        session.end(failure)

    def end_all(self, failure: TtswError) -> int:
        """End every session, with `failure` as the status of running speech.

        Returns:
            The number of utterances cut short.
        """
        cut = self.speaking
        for session in self._started():
            self.end(session.session_id, failure)
        return cut

    async def _run(
        self,
        session_id: str,
        entry: _Entry,
        options: Mapping[str, str],
        link: ConnectionLink | None,
        *,
        task_status: trio.TaskStatus[Session] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        structlog.contextvars.bind_contextvars(session_id=session_id)
        model_id = entry.model_id
        with VoiceLease(self._acquire, model_id, f"session {session_id}") as lease:
            voice = await lease.voice(fresh=False)
            # unique, since another session may later have the same id
            conversation_id = f"{session_id}#{next(self._serial)}"
            parsed = voice.parse_options(options, lead_ms=self._lead_ms, session=conversation_id)
            await voice.prepare(parsed)
            session = entry.session = Session(
                session_id,
                model_id,
                parsed,
                lease.voice,
                self._frame_timer,
                idle_timeout_s=self._idle_timeout_s,
                orphan_timeout_s=self._orphan_timeout_s,
                link=link,
                most_characters=self._most_characters,
                on_idle=lease.utterance_ended,
                tally=self._tally,
            )
            try:
                await session.run(task_status=task_status)
            except Exception:  # its own utterance has failed; other sessions continue
                log.exception("session failed")
            finally:
                self._turnover.ended(session.age_s)
                self._remove(session_id, entry)


def check_session_id(session_id: str) -> None:
    """Check that a text is a valid session id.

    Raises:
        InvalidArgumentError: It is empty, too long, or not printable.
    """
    if not session_id:
        raise InvalidArgumentError("session_id is empty; choose a name for the session")
    if len(session_id) > LONGEST_ID or not is_safe(session_id):
        raise InvalidArgumentError(f"session_id must be 1 to {LONGEST_ID} printable characters")
