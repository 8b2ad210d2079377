"""Error messages for refused requests."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ttsw.errors import ERRORS, ResourceExhaustedError, TtswError
from ttsw.models.capacity import Capacity
from ttsw.models.effects import Demand
from ttsw.models.instances import Instance, ModelState, Request
from ttsw.models.limits import ResidencyLimits

MB = 1e6
MOST_NAMED = 5
"""Most holders named in a message."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed load, or a repeatedly lost copy."""

    error: TtswError
    at: float
    times: int
    retry_at: float


def no_room(
    demand: Demand, instances: Sequence[Instance], room: Capacity, limits: ResidencyLimits
) -> ResourceExhaustedError:
    """Return the error for a load that can't fit."""
    places = demand.places or ()
    if not demand.base and sum(instance.base is None for instance in instances) >= limits.cap:
        why = f"model_manager.resident_cap is {limits.cap:g}"
    else:
        why = "; ".join(
            f"it needs {_mb(place.peak)} on {place.device}, where {_mb(max(0.0, room.free(place.device, instances)))} "
            f"of {_mb(room.capacity.get(place.device, math.inf))} for models are free"
            for place in places
        )
    hint = " (and this request may not evict others)" if demand.speculative else ""
    who = "; ".join(held(device, instances, limits) for device in sorted({place.device for place in places}))
    return ResourceExhaustedError(f"no room for model {demand.model_id!r}: {why}{hint}; {who}")


def held(device: str, instances: Iterable[Instance], limits: ResidencyLimits) -> str:
    """Describe the holders of a device's memory, the largest first."""
    here = sorted((i for i in instances if i.place.device == device), key=lambda i: (-i.size, i.serial))
    named = ", ".join(f"{each.model_id} ({_mb(each.size)}, {_use(each, limits)})" for each in here)
    return f"{device} is held by {named or 'no model of this worker'}"


def _use(instance: Instance, limits: ResidencyLimits) -> str:
    if instance.holders:
        return f"in use by {names(instance.holders)}"
    if instance.needed:
        return f"carries {', '.join(sorted(each.model_id for each in instance.dependents if each.needed))}"
    if instance.state is not ModelState.READY:
        return instance.state.value
    return "pinned, goes by UnloadModel only" if instance.model_id in limits.pinned else "idle"


def names(requests: Iterable[Request]) -> str:
    """Name the first few requests of many."""
    holders = [request.holder for request in requests]
    more = len(holders) - MOST_NAMED
    return ", ".join(holders[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def try_later(model_id: str, failure: Failure, now: float) -> TtswError:
    """Return the error for a request during the back-off after a failure."""
    kind: Callable[[str], TtswError] = ERRORS[failure.error.code]
    return kind(
        f"model {model_id!r} failed {now - failure.at:.1f} s ago, and is not loaded again for "
        f"{failure.retry_at - now:.1f} s: {failure.error}"
    )


def _mb(size: float) -> str:
    return "unlimited MB" if math.isinf(size) else f"{size / MB:.0f} MB"
