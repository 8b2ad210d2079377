"""Limits of residency."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ResidencyLimits:
    """What residency keeps to. Times are seconds, `inf` for never.

    Args:
        cap: Copies in memory at once, those that are based on another not counted.
        loads: Loads at once.
        ttl_s: Unused for this long, a model goes,
        min_residency_s: but not before it has been in memory for this long.
        pinned: Models that only go when they are asked to.
        budget: Bytes for models by device; one that isn't named may be filled.
        headroom: Bytes of each device that are left to others.
        backoff_s: After a failed load the model isn't tried again for this long; doubles with each failure,
        most_backoff_s: up to this.
    """

    cap: float = math.inf
    loads: int = 1
    ttl_s: float = math.inf
    min_residency_s: float = 0.0
    pinned: frozenset[str] = frozenset()
    budget: Mapping[str, float] = field(default_factory=dict)
    headroom: float = 0.0
    backoff_s: float = 1.0
    most_backoff_s: float = 60.0
