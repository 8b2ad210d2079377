"""What the load generator has spoken: short and long texts by turns of chance, the same ones for the same seed."""

import random
from collections.abc import Iterator

from ttsw.profiler.load_messages import Texts

SHORT = (
    "Yes, that works.",
    "One moment, please.",
    "The door is open.",
    "It rained all night.",
    "Turn left at the mill.",
    "She keeps bees on the roof.",
    "Your train leaves at nine.",
    "The kettle is almost ready.",
)
"""Answers of about a second."""

LONG = (
    "The small boat crossed the bay before the wind turned against the tide.",
    "A brass key hung on the nail behind the pantry door for thirty years.",
    "Fresh snow hides the path, so walk slowly and keep the fence on your right.",
    "They sold plums and walnuts from a wooden cart at the edge of the square.",
    "The old clock in the hall is four minutes fast, and nobody wants it mended.",
    "Pour the warm milk over the oats, add a pinch of salt, and stir until it thickens.",
    "Seven geese flew low across the field while the farmer tied the last bundle of straw.",
    "Her letter came in a blue envelope with three stamps and no return address.",
)
"""Sentences of about five seconds."""


def texts(kind: Texts, seed: int) -> Iterator[str]:
    """Give texts without end: of the mixed ones, two in three are short, the others are of two sentences.

    >>> {len(next(texts("mixed", seed)).split(". ")) for seed in range(9)}
    {1, 2}
    """
    dice = random.Random(seed)
    while True:
        if kind == "long":
            yield " ".join(dice.sample(LONG, 3))
        else:
            yield dice.choice(SHORT) if dice.random() < 2 / 3 else " ".join(dice.sample(LONG, 2))
