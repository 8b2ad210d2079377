"""The subjects of residency: requests for models, and copies of models with their state table.

A model usually has one copy, and two while a newly loaded copy replaces one in use. A copy may be based on a copy of
another model, which then stays in memory as long as it does: LoRA voices on the model that they were trained for.
"""

import math
from dataclasses import dataclass, field
from enum import StrEnum

from ttsw.errors import InternalError


class ModelState(StrEnum):
    """State of a model or of a copy. A model without a copy is absent, or failed after a failed load."""

    ABSENT = "absent"
    LOADING = "loading"
    WARMING = "warming"
    READY = "ready"
    DRAINING = "draining"
    UNLOADING = "unloading"
    FAILED = "failed"


class InstanceEvent(StrEnum):
    """Event in the life of a copy."""

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
"""All legal moves of a copy. After unloading or a failed load, the copy is removed."""


class UnloadCause(StrEnum):
    """Why a model was unloaded."""

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
    """A model's memory on a device.

    Args:
        device: The device: `cpu`, `cuda:0`.
        size: Memory once loaded, bytes.
        peak: Peak memory during the load, bytes; at least `size`.
        least: Lower bound for both, whatever a measurement says, bytes. (In a process that has kept memory of other
            models, a load seems to take little or nothing.)
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
    """A request for a model.

    Args:
        model_id: The full id.
        holder: Name of the requester, as refusals mention it: "session a".
        leases: Whether it acquires a lease; otherwise it only wants the model loaded.
        fresh: Whether it needs a newly loaded copy.
        speculative: Whether it may use free memory only, and doesn't count as a use.
        insists: Whether to retry a failed load at once.
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
        place: Its footprint and device.
        serial: Serial number; older copies have lower ones.
        retried: Whether this is the second attempt after the device ran out of memory.
        state: Its state.
        size: Memory accounted for it, bytes: the peak while it loads, then its size.
        holders: Requests that hold a lease on it.
        waiters: Requests that wait for its load.
        loaded_at: When it became ready, seconds.
        used_at: When a lease was last acquired or released, seconds; -inf if never.
        lost: Whether it was lost, and only remains to be removed.
        base: The copy whose weights it shares; None for an independent model.
        dependents: The copies based on it.
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
        """Change the state as the table says.

        Raises:
            InternalError: The event isn't legal in this state.
        """
        try:
            self.state = MOVES[self.state, event]
        except KeyError:
            raise InternalError(f"a copy of {self.model_id} that is {self.state} can't be {event}") from None

    @property
    def idle(self) -> bool:
        """Whether it is in memory and not in use."""
        return self.state is ModelState.READY and not self.holders

    @property
    def needed(self) -> bool:
        """Whether it, or a copy based on it, is in use or loading."""
        return bool(self.holders) or any(each.unfinished or each.needed for each in self.dependents)

    @property
    def free(self) -> bool:
        """Whether it is in memory and may be evicted."""
        return self.state is ModelState.READY and not self.needed

    @property
    def in_flight(self) -> bool:
        """Whether it is loading."""
        return self.state in {ModelState.LOADING, ModelState.WARMING}

    @property
    def unfinished(self) -> bool:
        """Whether its load still runs, even if it is being cancelled."""
        return math.isinf(self.loaded_at)

    def idle_s(self, now: float) -> float:
        """Return the time since its last use, seconds; 0 while it is in use or not ready."""
        return now - max(self.loaded_at, self.used_at) if self.idle else 0.0
