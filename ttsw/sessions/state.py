"""What a session may do next: the state table, and nothing else.

A pause belongs to one utterance: the one it meets, or, made while idle, the next. It ends with RESUME, with STOP, or
with that utterance.
"""

from enum import StrEnum

from ttsw.errors import FailedPreconditionError


class State(StrEnum):
    """Where a session stands."""

    IDLE = "idle"
    HELD = "held"  # idle, and the next utterance will wait for RESUME
    SPEAKING = "speaking"
    PAUSED = "paused"
    ENDED = "ended"


class Event(StrEnum):
    """What happens to a session."""

    BEGUN = "Synthesize"
    FINISHED = "the end of an utterance"
    PAUSED = "PAUSE"
    RESUMED = "RESUME"
    STOPPED = "STOP"
    RELOADED = "RELOAD"
    ENDED = "EndSession"


TABLE: dict[tuple[State, Event], State] = {
    (State.IDLE, Event.BEGUN): State.SPEAKING,
    (State.HELD, Event.BEGUN): State.PAUSED,
    (State.SPEAKING, Event.FINISHED): State.IDLE,
    (State.PAUSED, Event.FINISHED): State.IDLE,
    (State.IDLE, Event.PAUSED): State.HELD,
    (State.HELD, Event.PAUSED): State.HELD,
    (State.SPEAKING, Event.PAUSED): State.PAUSED,
    (State.PAUSED, Event.PAUSED): State.PAUSED,
    (State.IDLE, Event.RESUMED): State.IDLE,
    (State.HELD, Event.RESUMED): State.IDLE,
    (State.SPEAKING, Event.RESUMED): State.SPEAKING,
    (State.PAUSED, Event.RESUMED): State.SPEAKING,
    # A stopped utterance is no longer the session's: the next may begin while the old one still says goodbye.
    (State.IDLE, Event.STOPPED): State.IDLE,
    (State.HELD, Event.STOPPED): State.IDLE,
    (State.SPEAKING, Event.STOPPED): State.IDLE,
    (State.PAUSED, Event.STOPPED): State.IDLE,
    # A reload is kept for the next utterance and moves nothing now.
    (State.IDLE, Event.RELOADED): State.IDLE,
    (State.HELD, Event.RELOADED): State.HELD,
    (State.SPEAKING, Event.RELOADED): State.SPEAKING,
    (State.PAUSED, Event.RELOADED): State.PAUSED,
    (State.IDLE, Event.ENDED): State.ENDED,
    (State.HELD, Event.ENDED): State.ENDED,
    (State.SPEAKING, Event.ENDED): State.ENDED,
    (State.PAUSED, Event.ENDED): State.ENDED,
}


class IllegalMoveError(FailedPreconditionError):
    """An event came that the session's state does not allow; the text names both."""


def move(state: State, event: Event) -> State:
    """Return the state after `event`.

    >>> move(State.SPEAKING, Event.PAUSED)
    <State.PAUSED: 'paused'>

    Raises:
        IllegalMoveError: The table has no such move.
    """
    after = TABLE.get((state, event))
    if after is None:
        hint = "; one Synthesize at a time in a session" if event is Event.BEGUN and state is not State.ENDED else ""
        raise IllegalMoveError(f"{event} is not possible while the session is {state}{hint}")
    return after
