"""A server, a crowd and a memory that behave as a test says, in no time: what the bench measures can be known."""

import math
import random
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio.lowlevel

from ttsw.errors import NotFoundError, UnavailableError
from ttsw.profiler.load_messages import LoadResult, UtteranceTimes
from ttsw.profiler.model_bench import Stage
from ttsw.profiler.subject import MemoryReading, ServerSnapshot


@dataclass
class FakeModel:
    """What a model does to whoever listens, and to memory.

    Args:
        limit: Sessions beyond this wait longer than an SLO of 300 ms allows.
        smooth: Sessions beyond this have gaps.
        size_mb: What it takes,
        session_mb: and each of its sessions.
        leak_mb: What each unload leaves.
        fails_after: Loads after which the server is killed.
        dies_at: Sessions that kill the server.
        errors_at: Sessions from which on some utterances fail.
        drift: How much longer the first audio takes at a window's end than at its beginning, ms.
        stall_s: A gap in one utterance of ten.
        rate: Audio's length beside what it should be.
        pace: How long audio takes to come beside its length.
        noise: TTFA is off by up to this share.
        lasts_s: One session alone begins nothing in a shorter time, since it still speaks.
    """

    limit: int = 10_000
    smooth: int = 10_000
    size_mb: float = 100.0
    session_mb: float = 2.0
    leak_mb: float = 0.0
    fails_after: int = 10_000
    dies_at: int = 10_000
    errors_at: int = 10_000
    drift: float = 0.0
    stall_s: float = 0.0
    rate: float = 1.0
    pace: float = 1.0
    noise: float = 0.0
    lasts_s: float = 0.0
    device: str = "cpu"
    family: str = "fake"


@dataclass
class World:
    """All of it.

    Args:
        voices: The models by id.
        total_mb: The device's memory.
    """

    voices: dict[str, FakeModel]
    total_mb: float = 16_000.0
    lag_ms: float = 0.0
    resident: set[str] = field(default_factory=set)
    leaked_mb: float = 0.0
    speaking_mb: float = 0.0
    loads: int = 0
    dead: bool = False
    opened: int = 0
    most_seen_mb: float = 0.0
    orders: list = field(default_factory=list)
    dice: random.Random = field(default_factory=lambda: random.Random(3))

    @asynccontextmanager
    async def open_stage(self, _model_ids):
        self.opened += 1
        self.dead, self.resident, self.leaked_mb, self.loads = False, set(), 0.0, 0
        yield Stage(self, self, self)

    # Subject

    async def load(self, model_id):
        self._alive()
        if model_id not in self.voices:
            raise NotFoundError(model_id)
        self.loads += 1
        if self.loads > self.voices[model_id].fails_after:
            self.dead = True
        self._alive()
        self.resident.add(model_id)
        return 0.5

    async def unload(self, model_id):
        self._alive()
        self.resident.discard(model_id)
        self.leaked_mb += self.voices[model_id].leak_mb
        return 0.1

    def _alive(self):
        if self.dead:
            raise UnavailableError("the server has ended (exit code -9): it said nothing")

    async def models(self):
        self._alive()
        return {
            model_id: ServerSnapshot(
                model.family,
                "1.0",
                device=model.device if model_id in self.resident else "",
                size_mb=model.size_mb if model_id in self.resident else None,
                digest="ab" * 32,
                lufs=-20.0,
            )
            for model_id, model in self.voices.items()
        }

    # Meter

    async def look(self):
        self._alive()
        ours = 50.0 + sum(self.voices[each].size_mb for each in self.resident) + self.leaked_mb + self.speaking_mb
        self.most_seen_mb = max(self.most_seen_mb, ours)
        return MemoryReading(self.total_mb, ours, others_mb=0.0)

    # Listeners

    async def listen(self, order):
        self.orders.append(order)
        total = sum(group.sessions for group in order.groups)
        self.speaking_mb = sum(self.voices[group.model].session_mb * group.sessions for group in order.groups)
        try:
            said, refused = [], []
            for group in order.groups:
                model = self.voices[group.model]
                if group.sessions >= model.dies_at:
                    self.dead = True
                if self.dead:
                    refused += ["UNAVAILABLE: the connection was lost"]
                    continue
                said += self._say(order, group.model, model, total)
            for _ in range(3):
                await trio.lowlevel.checkpoint()  # whoever looks at memory meanwhile has a turn
            return LoadResult(
                seconds=order.seconds,
                utterances=said,
                jitter={group.model: {1: 100} for group in order.groups},
                lag_ms=self.lag_ms,
                refused=refused,
            )
        finally:
            self.speaking_mb = 0.0

    def _say(self, order, model_id, model, sessions):
        many = order.most or max(15, min(60, sessions * 3))
        if sessions == 1 and order.most is None and order.seconds < model.lasts_s:
            many = 0
        found = []
        for number in range(many):
            began_s = order.seconds * number / many
            ttfa = 300 * (1 + 0.05 * (sessions - model.limit - 0.5)) if model.limit < 10_000 else 50
            ttfa = max(20.0, ttfa) * (1 + self.dice.uniform(-model.noise, model.noise))
            ttfa += model.drift * number / many
            fails = sessions >= model.errors_at and number % 5 == 0
            audio_s = 3.0 * model.rate
            gap = model.stall_s if number % 10 == 9 else 0.0
            if sessions > model.smooth:
                gap = max(gap, 0.3)
            found.append(
                UtteranceTimes(
                    model=model_id,
                    began_s=began_s,
                    characters=45,
                    first_s=None if fails else ttfa / 1000,
                    took_s=ttfa / 1000 + (0.3 * model.pace if order.pacing == "fast" else audio_s * max(1, model.pace)),
                    audio_s=audio_s,
                    finished=not fails,
                    gap_s=gap,
                    stop_s=0.004 if order.stop_every and number % order.stop_every == 1 else None,
                    rtf=None if fails else 0.1,
                    error="INTERNAL: boom" if fails else "",
                )
            )
        return found


def ceiling_sessions(model, total_mb, headroom_mb):
    return math.floor((total_mb - headroom_mb - 50.0 - model.size_mb) / model.session_mb)
