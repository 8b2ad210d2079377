"""What is heard of an order: a player for each utterance, and a take of all that began while it was measured."""

from collections import Counter, defaultdict

import trio

from ttsw.profiler.load_messages import LoadOrder, LoadResult, UtteranceTimes
from ttsw.sessions.stats import percentile
from ttsw.units import FRAME_S

LEAD_IN = 5
"""Frames of an utterance whose distances don't count: the first come at once, as far as the lead goes."""
TICK_S = 0.01
"""How often the load generator looks at how late it is, s."""


class Player:
    """A player without a buffer: what it notices of an utterance."""

    def __init__(self, utterance: UtteranceTimes, take: "Recording") -> None:
        self._utterance, self._jitter, self._take = utterance, take.jitter[utterance.model], take
        self.asked = trio.current_time()
        self.stopped_at: float | None = None
        self._plays_until = self._last = self._first = 0.0
        self._frames = 0

    def hear(self, now: float) -> None:
        """A frame has come."""
        utterance = self._utterance
        if not self._frames:
            utterance.first_s = now - self.asked
            self._first = self._plays_until = now
        else:
            utterance.gap_s = max(utterance.gap_s, now - self._plays_until)
        self._frames += 1
        utterance.audio_s = self._frames * FRAME_S
        utterance.ahead_s = max(utterance.ahead_s, utterance.audio_s - (now - self._first))
        self._plays_until = max(now, self._plays_until) + FRAME_S
        if self._frames > LEAD_IN and self._take.counts(now):
            self._jitter[round(abs(now - self._last - FRAME_S) * 1e4)] += 1
        self._last = now

    def leave(self, now: float) -> None:
        """It has ended, or nobody listens any more."""
        utterance = self._utterance
        utterance.took_s = now - self.asked
        if self.stopped_at is not None and utterance.finished:
            utterance.stop_s = now - self.stopped_at
        elif self._frames and not utterance.finished and not utterance.error:
            utterance.gap_s = max(utterance.gap_s, now - self._plays_until)  # it may be stalling
        if self._take.order.pacing == "fast":
            utterance.ahead_s = 0.0


class Recording:
    """What one order has brought so far."""

    def __init__(self, order: LoadOrder) -> None:
        self.order = order
        self.begins = trio.current_time() + (order.settle_s if order.most is None else 0.0)
        self.ends = self.begins + order.seconds
        self.done, self._drained = trio.Event(), trio.Event()
        self.jitter: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self.refused: list[str] = []
        self._utterances: list[UtteranceTimes] = []
        self._open = 0
        self._groups = len(order.groups)
        self._lags_ms: list[float] = []

    def counts(self, now: float) -> bool:
        """Whether this is a moment that is measured."""
        return self.begins <= now < self.ends

    def begin(self, model: str, text: str) -> UtteranceTimes:
        """Take note of an utterance, if it begins in time."""
        now = trio.current_time()
        utterance = UtteranceTimes(model=model, began_s=now - self.begins, characters=len(text))
        if self.counts(now):
            self._utterances.append(utterance)
            self._open += 1
        return utterance

    def ended(self, utterance: UtteranceTimes) -> None:
        """An utterance has ended."""
        if 0 <= utterance.began_s < self.order.seconds:
            self._open -= 1
        if not self._open and trio.current_time() >= self.ends:
            self._drained.set()

    def group_is_done(self) -> None:
        """A group has said all that it was to say."""
        self._groups -= 1
        if not self._groups:
            self.done.set()
            self._drained.set()

    async def drain(self) -> None:
        """Wait until those that began in time have ended."""
        if self._open:
            await self._drained.wait()

    async def watch_lag(self) -> None:
        """Look at how late we are."""
        while True:
            due = trio.current_time() + TICK_S
            await trio.sleep_until(due)
            self._lags_ms.append(1000 * (trio.current_time() - due))

    def heard(self) -> LoadResult:
        """Tell it."""
        return LoadResult(
            seconds=round(min(self.ends, trio.current_time()) - self.begins, 3),
            utterances=self._utterances,
            jitter={model: dict(counts) for model, counts in self.jitter.items()},
            lag_ms=round(percentile(self._lags_ms, 99), 2) if self._lags_ms else 0.0,
            refused=self.refused,
        )
