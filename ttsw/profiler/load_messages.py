"""What is asked of the load generator, and what it tells: plain values that go between processes as JSON."""

from typing import Literal

import msgspec

Arrivals = Literal["closed", "poisson"]
Texts = Literal["mixed", "long"]


class SessionGroup(msgspec.Struct, frozen=True):
    """Who speaks with one model.

    Args:
        model: The model.
        sessions: So many at once; on average, where they come by chance.
    """

    model: str
    sessions: int


class LoadOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A load to make, and how long to listen to it.

    Args:
        groups: Who speaks.
        seconds: How long it is measured.
        settle_s: Before that, sessions begin one by one within this time, s.
        drain_s: So long the utterances that began in time are heard on; the load goes on meanwhile.
        arrivals: `closed`: who has spoken speaks again; `poisson`: utterances come by chance.
        mean_s: How long an utterance takes on average, s; for `poisson`.
        texts: `mixed`: short and long ones; `long`: each of some sentences.
        most: So many utterances of each session, then it is done; None for no limit.
        stop_every: One of so many utterances is stopped while it speaks; 0 for none.
        pacing: The sessions' option `pacing`.
        seed: Chance's beginning.
    """

    groups: tuple[SessionGroup, ...]
    seconds: float
    settle_s: float = 1.0
    drain_s: float = 15.0
    arrivals: Arrivals = "closed"
    mean_s: float = 3.0
    texts: Texts = "mixed"
    most: int | None = None
    stop_every: int = 0
    pacing: Literal["realtime", "fast"] = "realtime"
    seed: int = 1


class UtteranceTimes(msgspec.Struct, kw_only=True):
    """An utterance that began while it was measured.

    Args:
        model: Who spoke it.
        began_s: When its text was sent, s from the measurement's start.
        characters: The text's length.
        first_s: From then to the first audio; None where there was none.
        took_s: From then to its end, or to the moment when nobody listened any more.
        audio_s: Audio that came.
        finished: Whether it was heard to its end.
        gap_s: The longest time that playback stood still.
        ahead_s: How far its audio was ahead of real time, at most.
        stop_s: From a STOP's being sent to the end of the audio, where there was a STOP.
        rtf: Compute time by audio time, as the server measured it; None unless it ended without an error.
        error: The status and text that it failed with.
    """

    model: str
    began_s: float
    characters: int
    first_s: float | None = None
    took_s: float = 0.0
    audio_s: float = 0.0
    finished: bool = False
    gap_s: float = 0.0
    ahead_s: float = 0.0
    stop_s: float | None = None
    rtf: float | None = None
    error: str = ""


class LoadResult(msgspec.Struct, kw_only=True):
    """What came of an order.

    Args:
        seconds: How long it was measured.
        utterances: Those that began meanwhile.
        jitter: By model, how many frames were off 20 ms by so many tenths of a ms.
        lag_ms: How late the load generator itself was for its own appointments, at the 99th percentile.
        refused: Sessions that were not opened, by status and text.
    """

    seconds: float
    utterances: list[UtteranceTimes]
    jitter: dict[str, dict[int, int]] = {}
    lag_ms: float = 0.0
    refused: list[str] = []
