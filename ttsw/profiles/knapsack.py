"""Which models are best had in memory together: the most of them, then the most valuable, then those that take least.

Exact up to `MOST_EXACT` models, by branch and bound: models are tried by rising size, and a branch is left where even
the smallest models that are left can't make it as many, the most valuable of them as valuable, or the smallest as small
as the best choice so far. Above that, the smallest are taken that fit.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

MOST_EXACT = 20


class Item(NamedTuple):
    """A model.

    Args:
        name: Its id.
        cost: What it takes while it is in memory.
        transient: What its loading takes beyond that, for a while.
        value: What it is worth, 0 or more.
    """

    name: str
    cost: float
    transient: float = 0.0
    value: float = 0.0


def pack(items: Sequence[Item], budget: float, transient: float = 0.0) -> tuple[Item, ...]:
    """Choose the best set whose costs, with the largest transient among them, stay within a budget.

    >>> [item.name for item in pack([Item("a", 4), Item("b", 5), Item("c", 6, value=1)], 10)]
    ['a', 'c']

    Args:
        items: What there is.
        budget: What all may take together.
        transient: A transient that is to be left room for in any case.
    """
    ordered = sorted((item for item in items if item.cost <= budget), key=lambda each: (each.cost, each.name))
    if len(ordered) > MOST_EXACT:
        return _smallest(ordered, budget, transient)
    search = _Search(ordered, budget)
    search.look(0, (), 0.0, transient)
    return search.best


def _smallest(items: Sequence[Item], budget: float, transient: float) -> tuple[Item, ...]:
    """Take the smallest, for each bound on the transient, and keep the largest choice."""
    best: tuple[Item, ...] = ()
    for bound in sorted({transient, *(item.transient for item in items if item.transient > transient)}):
        taken, cost = [], 0.0
        for item in items:
            if item.transient <= bound and cost + item.cost + bound <= budget:
                taken.append(item)
                cost += item.cost
        best = max(best, tuple(taken), key=len)
    return best


@dataclass
class _Search:
    items: Sequence[Item]
    budget: float
    best: tuple[Item, ...] = ()
    _score: tuple[int, float, float] = (0, 0.0, 0.0)
    _sums: list[float] = field(init=False)
    _worth: list[list[float]] = field(init=False)

    def __post_init__(self) -> None:
        self._sums = list(accumulate((item.cost for item in self.items), initial=0.0))
        tails = (self.items[start:] for start in range(len(self.items) + 1))
        self._worth = [
            list(accumulate(sorted((item.value for item in tail), reverse=True), initial=0.0)) for tail in tails
        ]

    def look(self, start: int, chosen: tuple[Item, ...], cost: float, transient: float) -> None:
        """Look at all choices that go on from `chosen` with items from `start` on."""
        score = (len(chosen), sum(item.value for item in chosen), -cost)
        if cost + transient <= self.budget and score > self._score:
            self.best, self._score = chosen, score
        if start == len(self.items) or not self._may_be_better(start, score, transient):
            return
        item = self.items[start]
        if cost + item.cost + max(transient, item.transient) <= self.budget:
            self.look(start + 1, (*chosen, item), cost + item.cost, max(transient, item.transient))
        self.look(start + 1, chosen, cost, transient)

    def _may_be_better(self, start: int, score: tuple[int, float, float], transient: float) -> bool:
        count, value, cost = score[0], score[1], -score[2]
        room = self.budget - cost - transient + self._sums[start] + 1e-6  # sums are rounded
        more = bisect_right(self._sums, room, start) - 1 - start
        if count + more != self._score[0]:
            return count + more > self._score[0]
        worth = value + self._worth[start][more]
        if worth != self._score[1]:
            return worth > self._score[1]
        return cost + self._sums[start + more] - self._sums[start] < -self._score[2]
