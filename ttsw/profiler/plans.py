"""How much is measured, and for how long; and from that, how long it will take."""

from dataclasses import dataclass, replace
from typing import Literal

LEVELS = 9
"""Levels that a quick search takes, mostly: some steps up, a second chance, some halvings,"""
MORE_LEVELS = 18
"""and any other,"""
REFUTED = 3
"""which has so many confirmations fail, mostly."""
LOAD_S = 3.0
"""What a load and an unload are thought to take, while nobody knows, s."""


@dataclass(frozen=True, slots=True)
class BenchPlan:
    """What a measurement does.

    Args:
        cycles: Loads and unloads of each model, before the load that it is measured with.
        probe_s: How long a level is measured while the limit is searched, s,
        confirm_s: and while it is confirmed.
        settle_s: Time in which sessions begin, s.
        drain_s: How long utterances are heard on at the end, s.
        memory_levels: Sessions at which memory is looked at.
        memory_s: How long each of these speaks, s.
        poisson_s: How long utterances come by chance, s; 0 for not at all.
        pairs: Pairs of models that are measured together, at most.
        pair_s: How long each is, s.
        most: Sessions at most.
        factor: Levels grow by this, while the limit is searched.
        coarse: The search may end at this share of the limit.
        second_chance: Which failures are run again before they count: see `ttsw.profiler.search.SearchLimits`.
        confirmations: How often a limit has to hold.
        stop_every: One of so many utterances is stopped.
    """

    cycles: int = 5
    probe_s: float = 12.0
    confirm_s: float = 30.0
    settle_s: float = 2.0
    drain_s: float = 10.0
    memory_levels: tuple[int, ...] = (1, 2, 4, 8)
    memory_s: float = 8.0
    poisson_s: float = 30.0
    pairs: int = 6
    pair_s: float = 15.0
    most: int = 256
    factor: int = 2
    coarse: float = 0.0
    second_chance: Literal["each", "first", "none"] = "each"
    confirmations: int = 3
    stop_every: int = 9

    def level_s(self, seconds: float) -> float:
        """How long a level takes in all, s; utterances end within some seconds, not all of `drain_s`."""
        return self.settle_s + seconds + min(self.drain_s, 4.0)

    def load_s(self) -> float:
        """How long loading again and again takes, s."""
        return (self.cycles + 1) * LOAD_S

    def memory_sum_s(self) -> float:
        """How long memory by session takes, s."""
        return len(self.memory_levels) * self.level_s(self.memory_s)

    def search_s(self, done: int = 0) -> float:
        """How long a search takes of which so many levels are done, s."""
        levels = LEVELS if self.coarse else MORE_LEVELS
        confirming = self.confirmations and self.confirmations + 1 + (0 if self.coarse else REFUTED)
        return max(levels - done, 1) * self.level_s(self.probe_s) + confirming * self.level_s(self.confirm_s)

    def model_s(self) -> float:
        """How long a model takes, s."""
        poisson_s = self.level_s(self.poisson_s) if self.poisson_s else 0.0
        return LOAD_S + self.load_s() + self.memory_sum_s() + self.search_s() + poisson_s

    def pairs_s(self, models: int) -> float:
        """How long the pairs of so many models take, s."""
        pairs = min(self.pairs, models * (models - 1) // 2)
        return pairs * (3 * self.level_s(self.pair_s) + 5 * LOAD_S)


NORMAL = BenchPlan()
QUICK = BenchPlan(
    cycles=3,
    probe_s=3.0,
    confirm_s=5.0,
    settle_s=0.5,
    drain_s=1.0,
    memory_levels=(1, 4),
    memory_s=2.5,
    poisson_s=5.0,
    pairs=1,
    pair_s=4.0,
    most=128,
    factor=4,
    coarse=0.2,
    second_chance="first",
)
FULL = replace(
    NORMAL,
    cycles=10,
    probe_s=30.0,
    confirm_s=90.0,
    memory_levels=(1, 2, 4, 8, 16),
    memory_s=15.0,
    poisson_s=120.0,
    pairs=20,
    pair_s=30.0,
)
