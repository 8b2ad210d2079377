"""The state table of sessions.

A pause belongs to one utterance: the current one, or, if made while idle, the next one. It ends with RESUME, with STOP,
or with that utterance.
"""

from enum import StrEnum

from ttsw.errors import FailedPreconditionError


class SessionState(StrEnum):
    """State of a session."""

    IDLE = "idle"
    HELD = "held"  # idle; the next utterance waits for RESUME
    SPEAKING = "speaking"
    PAUSED = "paused"
    ENDED = "ended"


class SessionEvent(StrEnum):
    """Event of a session."""

    BEGUN = "Synthesize"
    FINISHED = "the end of an utterance"
    PAUSED = "PAUSE"
    RESUMED = "RESUME"
    STOPPED = "STOP"
    RELOADED = "RELOAD"
    ENDED = "EndSession"


TABLE: dict[tuple[SessionState, SessionEvent], SessionState] = {
    (SessionState.IDLE, SessionEvent.BEGUN): SessionState.SPEAKING,
    (SessionState.HELD, SessionEvent.BEGUN): SessionState.PAUSED,
    (SessionState.SPEAKING, SessionEvent.FINISHED): SessionState.IDLE,
    (SessionState.PAUSED, SessionEvent.FINISHED): SessionState.IDLE,
    (SessionState.IDLE, SessionEvent.PAUSED): SessionState.HELD,
    (SessionState.HELD, SessionEvent.PAUSED): SessionState.HELD,
    (SessionState.SPEAKING, SessionEvent.PAUSED): SessionState.PAUSED,
    (SessionState.PAUSED, SessionEvent.PAUSED): SessionState.PAUSED,
    (SessionState.IDLE, SessionEvent.RESUMED): SessionState.IDLE,
    (SessionState.HELD, SessionEvent.RESUMED): SessionState.IDLE,
    (SessionState.SPEAKING, SessionEvent.RESUMED): SessionState.SPEAKING,
    (SessionState.PAUSED, SessionEvent.RESUMED): SessionState.SPEAKING,
    # A stopped utterance no longer belongs to the session: the next one may begin while it still ends.
    (SessionState.IDLE, SessionEvent.STOPPED): SessionState.IDLE,
    (SessionState.HELD, SessionEvent.STOPPED): SessionState.IDLE,
    (SessionState.SPEAKING, SessionEvent.STOPPED): SessionState.IDLE,
    (SessionState.PAUSED, SessionEvent.STOPPED): SessionState.IDLE,
    # A reload takes effect with the next utterance, without a change of state.
    (SessionState.IDLE, SessionEvent.RELOADED): SessionState.IDLE,
    (SessionState.HELD, SessionEvent.RELOADED): SessionState.HELD,
    (SessionState.SPEAKING, SessionEvent.RELOADED): SessionState.SPEAKING,
    (SessionState.PAUSED, SessionEvent.RELOADED): SessionState.PAUSED,
    (SessionState.IDLE, SessionEvent.ENDED): SessionState.ENDED,
    (SessionState.HELD, SessionEvent.ENDED): SessionState.ENDED,
    (SessionState.SPEAKING, SessionEvent.ENDED): SessionState.ENDED,
    (SessionState.PAUSED, SessionEvent.ENDED): SessionState.ENDED,
}


class IllegalMoveError(FailedPreconditionError):
    """An event isn't allowed in the session's state; the message names both."""


def move(state: SessionState, event: SessionEvent) -> SessionState:
    """Return the state after `event`.

    >>> move(SessionState.SPEAKING, SessionEvent.PAUSED)
    <SessionState.PAUSED: 'paused'>

    Raises:
        IllegalMoveError: The table has no such move.
    """
    after = TABLE.get((state, event))
    if after is None:
        hint = (
            "; one Synthesize at a time in a session"
            if event is SessionEvent.BEGUN and state is not SessionState.ENDED
            else ""
        )
        raise IllegalMoveError(f"{event} is not possible while the session is {state}{hint}")
    return after
