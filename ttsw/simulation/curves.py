"""Time to first audio and RTF of a simulated model, by number of sessions.

A profile's measured levels are points of both curves, joined by straight lines; the last line is extended. A model
without measured levels gets curves that reach the SLO between its last session and the next, by its limiting factor.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from ttsw.profiles.schema import ModelFacts, Slo

EASE = 0.5
"""Share of its limit that the curve reaches that isn't the model's limiting factor."""

Points = Sequence[tuple[float, float]]


class Curves(NamedTuple):
    """Both curves of a model, as points (sessions, value), sorted by sessions.

    Args:
        first_s: Time to first audio, seconds.
        rtf: Real-time factor.
    """

    first_s: Points
    rtf: Points

    def at(self, sessions: float) -> tuple[float, float]:
        """Return time to first audio, seconds, and RTF for a number of sessions."""
        return along(self.first_s, sessions), along(self.rtf, sessions)


def curves_of(model: ModelFacts, slo: Slo) -> Curves:
    """Return a model's curves: as measured, or as derived from its limit and limiting factor."""
    closed = sorted((each for each in model.sweep if each.arrivals == "closed"), key=lambda each: each.sessions)
    first = [(each.sessions, each.ttfa_ms.p50 / 1000) for each in closed if each.ttfa_ms]
    rtf = [(each.sessions, each.rtf.p50) for each in closed if each.rtf]
    if first and rtf:
        return Curves(first, rtf)
    edge = (model.sessions or 1) + 0.5
    first_s = slo.ttfa_ms / 1000 * (1 if model.bound == "ttfa" else EASE)
    share = 1.0 if model.bound in {"continuity", None, "search"} else EASE
    return Curves([(0.0, 0.0), (edge, first_s)], [(0.0, 0.0), (edge, share)])


def along(points: Points, x: float) -> float:
    """Return a curve's value, linearly interpolated or extrapolated; never below 0.

    >>> [along([(1, 10), (3, 30), (4, 60)], x) for x in (0, 1, 2, 3.5, 6)]
    [0.0, 10.0, 20.0, 45.0, 120.0]
    """
    if len(points) == 1:
        ((at, value),) = points
        return value * x / at
    lines = list(pairwise(points))
    (x0, y0), (x1, y1) = lines[min(bisect_left([end for _, (end, _) in lines], x), len(lines) - 1)]
    return max(0.0, y0 + (y1 - y0) * (x - x0) / (x1 - x0))
