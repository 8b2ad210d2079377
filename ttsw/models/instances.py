"""What residency is about: requests for a model, and copies of it in memory, whose states are a table.

A model has one copy as a rule, and two while a fresh load replaces one that is still in use. A copy may be based on
a copy of another model, which then stays in memory as long as it does: LoRA voices on the model they were trained for.
"""

import math
from dataclasses import dataclass, field
from enum import StrEnum

from ttsw.errors import InternalError


class ModelState(StrEnum):
    """How a model, or a copy of it, stands. A model without a copy is absent, or failed after a load that failed."""

    ABSENT = "absent"
    LOADING = "loading"
    WARMING = "warming"
    READY = "ready"
    DRAINING = "draining"
    UNLOADING = "unloading"
    FAILED = "failed"


class InstanceEvent(StrEnum):
    """What happens to a copy."""

    LOADED = "loaded"
    WARMED = "warmed"
    RETIRED = "retired"
    DISMISSED = "dismissed"


MOVES: dict[tuple[ModelState, InstanceEvent], ModelState] = {
    (ModelState.LOADING, InstanceEvent.LOADED): ModelState.WARMING,
    (ModelState.WARMING, InstanceEvent.WARMED): ModelState.READY,
    (ModelState.READY, InstanceEvent.RETIRED): ModelState.DRAINING,
    (ModelState.LOADING, InstanceEvent.DISMISSED): ModelState.UNLOADING,
    (ModelState.WARMING, InstanceEvent.DISMISSED): ModelState.UNLOADING,
    (ModelState.READY, InstanceEvent.DISMISSED): ModelState.UNLOADING,
    (ModelState.DRAINING, InstanceEvent.DISMISSED): ModelState.UNLOADING,
}
"""All legal moves of a copy. Its end, after unloading or a failed load, is that it is no more."""


class UnloadCause(StrEnum):
    """Why a model is unloaded."""

    TTL = "ttl"
    ROOM = "room"
    PRESSURE = "pressure"
    OUT_OF_MEMORY = "out of memory"
    LOST = "lost"
    REPLACED = "replaced"
    ASKED = "asked"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Footprint:
    """Where a model can live, and what it takes there.

    Args:
        device: The device: `cpu`, `cuda:0`.
        size: What it takes once it is loaded, bytes.
        peak: What it takes at most while it is loaded, bytes; at least `size`.
        least: What it can't do with less than, whatever a measurement says, bytes. (In a process that has memory left
            from other models, a load seems to take little or nothing.)
    """

    device: str
    size: int = 0
    peak: int = 0
    least: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", max(self.size, self.least))
        object.__setattr__(self, "peak", max(self.peak, self.size))


@dataclass(eq=False, slots=True)
class Request:
    """Somebody wants a model.

    Args:
        model_id: The full id.
        holder: Who, as a refusal names him: "session a".
        leases: Whether to hold it; otherwise it is only to be in memory.
        fresh: Whether it must be a copy loaded from now on.
        speculative: Whether it is wanted for later: it may take free room only, and isn't a use.
        insists: Whether to try at once what has just failed.
    """

    model_id: str
    holder: str = "a caller"
    leases: bool = True
    fresh: bool = False
    speculative: bool = False
    insists: bool = False


@dataclass(eq=False, slots=True)
class Instance:
    """A copy of a model, from the start of its load to the end of its unload.

    Args:
        model_id: The full id.
        place: Where it is.
        serial: Its number; older copies have lower ones.
        retried: Whether it is the second try after the device had no memory left.
        state: How it stands.
        size: What it counts for, bytes: the peak while it loads, then what it takes.
        holders: Who holds a lease on it.
        waiters: Who waits for its load.
        loaded_at: When it got ready, s.
        used_at: When it was last taken or given back, s; -inf if never.
        lost: Whether it is gone by itself, and only its end is still to be seen to.
        base: The copy that it is based on and shares weights with; None for one that stands by itself.
        dependents: The copies that are based on it.
    """

    model_id: str
    place: Footprint
    serial: int
    retried: bool = False
    state: ModelState = ModelState.LOADING
    size: int = 0
    holders: dict[Request, None] = field(default_factory=dict)
    waiters: dict[Request, None] = field(default_factory=dict)
    loaded_at: float = math.inf
    used_at: float = -math.inf
    lost: bool = False
    base: "Instance | None" = None
    dependents: "dict[Instance, None]" = field(default_factory=dict)

    def move(self, event: InstanceEvent) -> None:
        """Move on by the table.

        Raises:
            InternalError: That can't happen to a copy in this state.
        """
        try:
            self.state = MOVES[self.state, event]
        except KeyError:
            raise InternalError(f"a copy of {self.model_id} that is {self.state} can't be {event}") from None

    @property
    def idle(self) -> bool:
        """Whether it is in memory and nobody uses it."""
        return self.state is ModelState.READY and not self.holders

    @property
    def needed(self) -> bool:
        """Whether somebody uses it, or what is based on it, or a load of that still runs."""
        return bool(self.holders) or any(each.unfinished or each.needed for each in self.dependents)

    @property
    def free(self) -> bool:
        """Whether it is in memory and may go."""
        return self.state is ModelState.READY and not self.needed

    @property
    def in_flight(self) -> bool:
        """Whether it is on its way into memory."""
        return self.state in {ModelState.LOADING, ModelState.WARMING}

    @property
    def unfinished(self) -> bool:
        """Whether its load still runs, be it to be thrown away."""
        return math.isinf(self.loaded_at)

    def idle_s(self, now: float) -> float:
        """How long nobody has used it, s; 0 while it is in use or not ready."""
        return now - max(self.loaded_at, self.used_at) if self.idle else 0.0
