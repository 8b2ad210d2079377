"""Room for one more model: where it fits as it is, what has to go first, or that it can't be had."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ttsw.models.instances import Footprint, Instance, ModelState


@dataclass(frozen=True, slots=True)
class Start:
    """It fits: load it here."""

    place: Footprint


@dataclass(frozen=True, slots=True)
class Wait:
    """It will fit once these have gone, and what is on its way in or out has arrived."""

    evict: tuple[Instance, ...] = ()


@dataclass(frozen=True, slots=True)
class Capacity:
    """What there is for models.

    Args:
        cap: Copies in memory at once, those that are based on another not counted.
        capacity: Bytes by device; a device that isn't named has no bound.
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
        """Decide what to do for a load.

        Args:
            places: Where it can be, the best first.
            instances: All copies there are.
            evictable: Those that may go for it, first to go first.
            counts: Whether it counts as a copy: what is based on another doesn't.

        Returns:
            None where there is no room, and none to come.
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
        """Choose who is to go where a device holds more than it has room for; those that already go are counted."""
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
        """Bytes of a device that no copy has; below 0 where it holds more than there is room for."""
        return -self._over(device, instances)

    def _lack(self, place: Footprint, instances: Sequence[Instance], *, counts: bool) -> "_Lack":
        copies = sum(instance.base is None for instance in instances) + 1 - self.cap if counts else -math.inf
        return _Lack(place.device, copies, self._over(place.device, instances) + place.peak)

    def _over(self, device: str, instances: Iterable[Instance]) -> float:
        used = sum(instance.size for instance in instances if instance.place.device == device)
        return used - self.capacity.get(device, math.inf)


@dataclass(frozen=True, slots=True)
class _Lack:
    """What is missing for a load: so many copies too many, so many bytes too few."""

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
    """Take from the front until nothing is missing, then spare those whose going isn't needed; () if it is in vain."""
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
