"""Capacity: whether a model fits as things are, after evictions, or not at all."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ttsw.models.instances import Footprint, Instance, ModelState


@dataclass(frozen=True, slots=True)
class Start:
    """The model fits: load it here."""

    place: Footprint


@dataclass(frozen=True, slots=True)
class Wait:
    """The model will fit once these copies are evicted and the loads and unloads in progress have finished."""

    evict: tuple[Instance, ...] = ()


@dataclass(frozen=True, slots=True)
class Capacity:
    """Capacity for models.

    Args:
        cap: Most copies in memory, not counting those based on another.
        capacity: Bytes by device; a device that isn't listed is unlimited.
    """

    cap: float = math.inf
    capacity: Mapping[str, float] = field(default_factory=dict)

    def plan(
        self,
        places: Sequence[Footprint],
        instances: Iterable[Instance],
        evictable: Sequence[Instance],
        *,
        counts: bool = True,
    ) -> Start | Wait | None:
        """Decide how to place a load.

        Args:
            places: Its footprint on each device that can hold it, the best device first.
            instances: All copies.
            evictable: Copies that may be evicted for it, in order of eviction.
            counts: Whether it counts towards the cap; a voice based on another model doesn't.

        Returns:
            None if the model doesn't fit, even after evictions.
        """
        present = list(instances)
        for place in places:
            if self._lack(place, present, counts=counts).covered:
                return Start(place)
        staying = [instance for instance in present if instance.state is not ModelState.UNLOADING]
        if any(self._lack(place, staying, counts=counts).covered for place in places):
            return Wait()
        for place in places:
            victims = _fewest(self._lack(place, staying, counts=counts), evictable)
            if victims:
                return Wait(victims)
        return Wait() if any(instance.in_flight for instance in present) else None

    def excess(self, device: str, instances: Iterable[Instance], evictable: Sequence[Instance]) -> tuple[Instance, ...]:
        """Return the copies to evict from a device that holds more than its limit, besides those already going."""
        staying = [instance for instance in instances if instance.state is not ModelState.UNLOADING]
        lack = _Lack(device, -math.inf, self._over(device, staying))
        victims: list[Instance] = []
        for instance in (i for i in evictable if i.place.device == device):
            if lack.covered:
                break
            victims.append(instance)
            lack = lack.without(instance)
        return tuple(victims)

    def free(self, device: str, instances: Iterable[Instance]) -> float:
        """Return a device's unallocated bytes; negative if it holds more than its limit."""
        return -self._over(device, instances)

    def _lack(self, place: Footprint, instances: Sequence[Instance], *, counts: bool) -> "_Lack":
        copies = sum(instance.base is None for instance in instances) + 1 - self.cap if counts else -math.inf
        return _Lack(place.device, copies, self._over(place.device, instances) + place.peak)

    def _over(self, device: str, instances: Iterable[Instance]) -> float:
        used = sum(instance.size for instance in instances if instance.place.device == device)
        return used - self.capacity.get(device, math.inf)


@dataclass(frozen=True, slots=True)
class _Lack:
    """The shortfall of a load: excess copies, and missing bytes."""

    device: str
    copies: float
    size: float

    @property
    def covered(self) -> bool:
        return self.copies <= 0 and self.size <= 0

    def without(self, instance: Instance) -> "_Lack":
        return self._by(-1, instance)

    def with_(self, instance: Instance) -> "_Lack":
        return self._by(1, instance)

    def _by(self, sign: int, instance: Instance) -> "_Lack":
        size = instance.size * (instance.place.device == self.device)
        return _Lack(self.device, self.copies + sign * (instance.base is None), self.size + sign * size)


def _fewest(lack: _Lack, evictable: Sequence[Instance]) -> tuple[Instance, ...]:
    """Return the fewest evictions that cover the shortfall, in order; () if none can."""
    victims: list[Instance] = []
    for instance in evictable:
        if lack.covered:
            break
        victims.append(instance)
        lack = lack.without(instance)
    if not lack.covered:
        return ()
    for instance in reversed(victims[:-1]):
        spared = lack.with_(instance)
        if spared.covered:
            victims.remove(instance)
            lack = spared
    return tuple(victims)
