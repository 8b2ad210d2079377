"""What was said before: the turns that the next goes on from, as many as have room, and those of sessions, kept.

A turn is what somebody said and how: its text's tokens and its frames. Sessions end without a word, so what is kept is
bounded: turns and frames of a session, and sessions, of which those that were used last stay.
"""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from threading import Lock
from typing import NamedTuple

from ttsw.adapters.sesame.frames import Codes

MOST_TURNS = 8
MOST_SESSIONS = 256


class ContextTurn(NamedTuple):
    """What somebody has said.

    Args:
        tokens: What the model read.
        codes: What it, or a recording, made of that.
    """

    tokens: tuple[int, ...]
    codes: Codes

    @property
    def positions(self) -> int:
        """What it takes of the model's memory: its text, its audio, and the frame that ends it."""
        return len(self.tokens) + len(self.codes) + 1


class ContextStore:
    """The turns of the sessions of one model.

    Args:
        most_frames: Frames kept of a session: no more than can ever be read.
    """

    def __init__(self, most_frames: int) -> None:
        self._most = most_frames
        self._sessions: OrderedDict[Hashable, tuple[ContextTurn, ...]] = OrderedDict()
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"<Turns: of {len(self._sessions)} sessions>"

    def get(self, session: Hashable) -> tuple[ContextTurn, ...]:
        """Give the turns of a session, the newest last."""
        with self._lock:
            if session in self._sessions:
                self._sessions.move_to_end(session)
            return self._sessions.get(session, ())

    def add(self, session: Hashable, turn: ContextTurn) -> None:
        """Keep a turn that came to its end."""
        with self._lock:
            turns = (*self._sessions.get(session, ()), turn)[-MOST_TURNS:]
            self._sessions[session] = fitting(turns, self._most)
            self._sessions.move_to_end(session)
            if len(self._sessions) > MOST_SESSIONS:
                self._sessions.popitem(last=False)

    def forget(self) -> None:
        """Forget all."""
        with self._lock:
            self._sessions.clear()


def fitting(turns: Sequence[ContextTurn], room: int) -> tuple[ContextTurn, ...]:
    """Give the newest turns that have room together, in their order."""
    kept: list[ContextTurn] = []
    for turn in reversed(turns):
        room -= turn.positions
        if room < 0:
            break
        kept.append(turn)
    return tuple(reversed(kept))
