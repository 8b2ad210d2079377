"""Texts to speak, and a straight line through points."""

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

SENTENCES = (
    "The birch canoe slid on the smooth planks.",
    "Glue the sheet to the dark blue background.",
    "It's easy to tell the depth of a well.",
    "These days a chicken leg is a rare dish.",
    "Rice is often served in round bowls.",
    "The juice of lemons makes fine punch.",
    "The box was thrown beside the parked truck.",
    "The hogs were fed chopped corn and garbage.",
    "Four hours of steady work faced us.",
    "A large size in stockings is hard to sell.",
)
"""Harvard sentences, list 1 (IEEE Recommended Practice for Speech Quality Measurements, 1969)."""


def text_of(characters: int) -> str:
    """Repeat the sentences to a text of this length, ending as a sentence does."""
    whole = " ".join(SENTENCES[i % len(SENTENCES)] for i in range(characters // 35 + 1))
    return whole[: characters - 1].rstrip(" .").ljust(characters - 1, "a") + "."


class Line(NamedTuple):
    """A least-squares line; `margin` is half the 95 % confidence interval of its slope."""

    slope: float
    margin: float


def fit(points: Sequence[tuple[float, float]]) -> Line:
    """Fit a line through (x, y); the margin takes the deviations as independent."""
    n = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    left = sum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in points)
    return Line(slope, 1.96 * sqrt(left / (n - 2) / spread) if n > 2 else float("inf"))
