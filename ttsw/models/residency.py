"""Which models are in memory: decides on each event what is to be loaded, lent, evicted or refused, and does nothing.

Events come as method calls with the time; each returns the effects that its caller is to carry out, in order. Effects
that take time are answered by further events (`StartLoad` by `loaded` and `warmed` or `failed`, `StartUnload` and
`CancelLoad` by `unloaded`, `Weigh` by `weighed` or `refused`). So every decision is taken on one state, in one place.

Requests for a model that is being loaded join its load. Loads wait in line, first come first served, and room is made
before a load begins. What is leased is never evicted, nor what is pinned; the rest goes by least recent use, with those
that have had their minimum residency first. A load that can't fit is refused at once, unless something is under way
that may change that.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count

from ttsw.errors import (
    ERRORS,
    FailedPreconditionError,
    OutOfMemoryError,
    ResourceExhaustedError,
    TtswError,
    UnavailableError,
)
from ttsw.models.effects import CancelLoad, Demand, Effect, Grant, Refuse, Revoke, StartLoad, StartUnload, Weigh
from ttsw.models.instances import Cause, Event, Instance, Place, Request, State
from ttsw.models.room import Room, Start
from ttsw.types import MemorySnapshot

Seen = Iterable[MemorySnapshot]

MB = 1e6
MOST_NAMED = 5
"""Holders that a refusal names."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What residency keeps to. Times are seconds, `inf` for never.

    Args:
        cap: Copies in memory at once.
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


@dataclass(frozen=True, slots=True)
class Failure:
    """A load that failed, or a copy that was lost not for the first time."""

    error: TtswError
    at: float
    times: int
    retry_at: float


class Residency:
    """The state of all models, and every decision on it.

    Args:
        limits: What to keep to.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.instances: list[Instance] = []
        """All copies there are, the oldest first."""
        self.failures: dict[str, Failure] = {}
        self._line: list[Demand] = []
        self._losses: dict[str, int] = {}
        self._room = Room(limits.cap, dict(limits.budget))
        self._serial = count(1)
        self._stopped = False

    def __repr__(self) -> str:
        copies = ", ".join(f"{i.model_id} {i.state} ({len(i.holders)})" for i in self.instances)
        waiting = ", ".join(demand.model_id for demand in self._line)
        return f"<Residency: {copies or 'nothing'}{f'; waiting: {waiting}' if waiting else ''}>"

    # What can be asked.

    def ready(self, model_id: str) -> Instance | None:
        """The copy that sessions get now."""
        return next((i for i in self.instances if i.model_id == model_id and i.state is State.READY), None)

    def incoming(self, model_id: str) -> Instance | None:
        """The copy that is on its way in."""
        return next((i for i in self.instances if i.model_id == model_id and i.in_flight), None)

    def state(self, model_id: str) -> State:
        """How a model stands: the best of its copies' states, loads that wait in line included."""
        states = {instance.state for instance in self.instances if instance.model_id == model_id}
        if any(demand.model_id == model_id for demand in self._line):
            states.add(State.LOADING)
        for state in (State.READY, State.WARMING, State.LOADING, State.DRAINING, State.UNLOADING):
            if state in states:
                return state
        return State.FAILED if model_id in self.failures else State.ABSENT

    def free(self, device: str) -> float:
        """Bytes of a device that models may still take; `inf` where nothing bounds them."""
        return self._room.free(device, self.instances)

    # What clients do.

    def ask(self, request: Request, now: float) -> list[Effect]:
        """Somebody wants a model."""
        if self._stopped:
            return [Refuse(request, UnavailableError("the worker is stopping"))]
        ready = self.ready(request.model_id)
        if ready is not None and not request.fresh:
            return [self._grant(request, ready, now)]
        incoming = self.incoming(request.model_id)
        if incoming is not None:
            incoming.waiters[request] = None
            return []
        demand = next((demand for demand in self._line if demand.model_id == request.model_id), None)
        if demand is not None:
            demand.requests[request] = None
            return self._advance(now)
        failure = self.failures.get(request.model_id)
        if failure is not None and now < failure.retry_at and not request.insists:
            return [Refuse(request, _again(request.model_id, failure, now))]
        self._line.append(Demand(request.model_id, {request: None}))
        return [Weigh(self._line[-1])]

    def withdraw(self, request: Request, now: float) -> list[Effect]:
        """Somebody no longer wants what was asked for, whether he has it already or not."""
        for instance in self.instances:
            instance.waiters.pop(request, None)  # the load goes on: it can't be undone, and may soon be wanted
        for demand in self._line:
            demand.requests.pop(request, None)
        self._line = [demand for demand in self._line if demand.requests]
        return self.release(request, now)

    def release(self, request: Request, now: float) -> list[Effect]:
        """A lease is given back; one that isn't held is no fault."""
        instance = next((i for i in self.instances if request in i.holders), None)
        if instance is None:
            return self._advance(now)
        del instance.holders[request]
        instance.used_at = now
        if instance.state is State.DRAINING and not instance.holders:
            cause = Cause.LOST if instance.lost else Cause.REPLACED if self._successor(instance) else Cause.ASKED
            return [self._dismiss(instance, cause)]
        return self._advance(now)

    def unload(self, model_id: str, *, force: bool = False) -> list[Effect]:
        """Somebody asks for a model to go; `force` sees to it that it does, as soon as its holders let go.

        Raises:
            FailedPreconditionError: It is in use, or waited for; the text says by whom.
        """
        copies = [instance for instance in self.instances if instance.model_id == model_id]
        demands = [demand for demand in self._line if demand.model_id == model_id]
        waiting = [request for each in demands for request in each.requests]
        waiting += [request for copy in copies for request in copy.waiters]
        holding = [request for copy in copies for request in copy.holders]
        if (waiting or holding) and not force:
            what = f"being loaded for {names(waiting)}" if waiting else f"in use by {names(holding)}"
            raise FailedPreconditionError(
                f"model {model_id!r} is {what}; wait until that has ended, or unload it by force"
            )
        error = UnavailableError(f"model {model_id!r} was unloaded by request before it was ready")
        self._line = [demand for demand in self._line if demand not in demands]
        return [*(Refuse(request, error) for request in waiting), *(e for copy in copies for e in self._expel(copy))]

    # How effects turned out.

    def weighed(self, demand: Demand, places: Iterable[Place], now: float) -> list[Effect]:
        """It is known what a load takes."""
        demand.places = tuple(places)
        return self._advance(now)

    def refused(self, demand: Demand, error: TtswError, now: float) -> list[Effect]:
        """A load can't even begin."""
        if demand not in self._line:
            return []
        self._line.remove(demand)
        return [*(Refuse(request, error) for request in demand.requests), *self._advance(now)]

    def loaded(self, instance: Instance) -> list[Effect]:
        """The weights are in memory; what remains is to warm up."""
        if instance.state is State.LOADING:  # otherwise it is being cancelled
            instance.move(Event.LOADED)
        return []

    def warmed(self, instance: Instance, now: float, size: int | None = None, seen: Seen = ()) -> list[Effect]:
        """A copy is ready, and takes `size` bytes if that could be measured."""
        if instance.state is State.UNLOADING:  # asked to go in the last moment
            return [StartUnload(instance, Cause.ASKED)]
        old = self.ready(instance.model_id)
        instance.move(Event.WARMED)
        instance.size = instance.place.size if size is None else size
        instance.loaded_at = now
        self.failures.pop(instance.model_id, None)
        effects: list[Effect] = [self._grant(request, instance, now) for request in instance.waiters]
        instance.waiters.clear()
        if old is not None and old.holders:
            old.move(Event.RETIRED)
        elif old is not None:
            effects.append(self._dismiss(old, Cause.REPLACED))
        return effects + self.observe(seen, now)

    def failed(self, instance: Instance, error: TtswError, now: float, seen: Seen = ()) -> list[Effect]:
        """A load failed, and left nothing in memory."""
        if instance.state is State.UNLOADING:
            return self.unloaded(instance, now, seen)
        self.instances.remove(instance)
        if isinstance(error, OutOfMemoryError) and not instance.retried:
            victims = self._evictable(now, instance.model_id, instance.place.device)
            if victims and instance.waiters:
                demand = Demand(instance.model_id, instance.waiters, retried=True)
                self._line.insert(0, demand)
                return [*(self._dismiss(victim, Cause.OUT_OF_MEMORY) for victim in victims), Weigh(demand)]
        if isinstance(error, OutOfMemoryError):
            error = OutOfMemoryError(f"{error}; {self._held(instance.place.device)}")
        before = self.failures.get(instance.model_id)
        times = 1 if before is None else before.times + 1
        self.failures[instance.model_id] = Failure(error, now, times, now + self._backoff_s(times))
        return [*(Refuse(request, error) for request in instance.waiters), *self.observe(seen, now)]

    def unloaded(self, instance: Instance, now: float, seen: Seen = ()) -> list[Effect]:
        """A copy is gone."""
        self.instances.remove(instance)
        return self.observe(seen, now)

    # What the world does.

    def observe(self, seen: Seen, now: float) -> list[Effect]:
        """Devices' memory was looked at: what is used there, and isn't a model of ours, isn't for models.

        While something comes or goes on a device, nobody can say how much of it is there; what was seen before counts.
        """
        for memory in seen:
            here = [instance for instance in self.instances if instance.place.device == memory.device]
            if not any(instance.unfinished or instance.state is State.UNLOADING for instance in here):
                others = max(0, memory.used - sum(instance.size for instance in here))
                left = min(memory.total - self.limits.headroom - others, self._budget(memory.device))
                self._room = Room(self.limits.cap, {**self._room.capacity, memory.device: max(0.0, left)})
        return self._relieve(now) + self._advance(now)

    def tick(self, now: float) -> list[Effect]:
        """Time has passed: what nobody has used for its time goes."""
        limits = self.limits
        return [
            self._dismiss(instance, Cause.TTL)
            for instance in self.instances
            if instance.idle
            and instance.model_id not in limits.pinned
            and instance.idle_s(now) >= limits.ttl_s
            and now - instance.loaded_at >= limits.min_residency_s
        ]

    def lost(self, instance: Instance, error: TtswError, now: float) -> list[Effect]:
        """A copy is gone by itself. Its holders let go of it; the next request loads another.

        One that keeps being lost isn't loaded again at once, as after failed loads.
        """
        if instance.state not in {State.READY, State.DRAINING}:
            return []
        instance.lost, instance.size = True, 0
        before = self._losses.get(instance.model_id, 0)
        losses = before if now - instance.loaded_at < self.limits.most_backoff_s else 0
        self._losses[instance.model_id] = losses + 1
        if losses:
            wait_s = self._backoff_s(losses)
            self.failures[instance.model_id] = Failure(error, now, losses, now + wait_s)
        if not instance.holders:
            return [self._dismiss(instance, Cause.LOST)]
        if instance.state is State.READY:
            instance.move(Event.RETIRED)
        return [Revoke(request) for request in instance.holders]

    def relieve(self, instance: Instance, now: float) -> list[Effect]:
        """A model in use has found its device without memory: all goes from there that nobody uses."""
        victims = self._evictable(now, instance.model_id, instance.place.device)
        return [self._dismiss(victim, Cause.OUT_OF_MEMORY) for victim in victims]

    def stop(self) -> list[Effect]:
        """Everything ends: nobody gets anything from now on."""
        self._stopped = True
        error = UnavailableError("the worker is stopping")
        waiting = [request for demand in self._line for request in demand.requests]
        waiting += [request for instance in self.instances for request in instance.waiters]
        self._line.clear()
        for instance in self.instances:
            instance.waiters.clear()
        return [Refuse(request, error) for request in waiting]

    # Decisions.

    def _backoff_s(self, times: int) -> float:
        return min(self.limits.backoff_s * 2.0 ** min(times - 1, 60), self.limits.most_backoff_s)

    def _advance(self, now: float) -> list[Effect]:
        """Go on with the line: strictly in order, so that none is passed over for ever."""
        effects: list[Effect] = []
        while self._line and self._line[0].places is not None:
            demand = self._line[0]
            running = [instance.model_id for instance in self.instances if instance.unfinished]
            if len(running) >= self.limits.loads or demand.model_id in running:
                break
            if demand.retried and any(instance.state is State.UNLOADING for instance in self.instances):
                break  # whatever the sums say, memory ran out before these went
            evictable = [] if demand.speculative else self._evictable(now, demand.model_id)
            present = [instance for instance in self.instances if not instance.lost]
            plan = self._room.plan(demand.places or (), present, evictable)
            if isinstance(plan, Start):
                effects.append(self._load(demand, plan.place))
            elif plan is None:
                self._line.remove(demand)
                effects += [Refuse(request, self._no_room(demand)) for request in demand.requests]
            else:
                effects += [self._dismiss(victim, Cause.ROOM) for victim in plan.evict]
                break
        return effects

    def _load(self, demand: Demand, place: Place) -> StartLoad:
        self._line.remove(demand)
        instance = Instance(demand.model_id, place, next(self._serial), demand.retried, size=place.peak)
        instance.waiters = demand.requests
        self.instances.append(instance)
        return StartLoad(instance)

    def _grant(self, request: Request, instance: Instance, now: float) -> Grant:
        if request.leases:
            instance.holders[request] = None
        if not request.speculative:
            instance.used_at = now
        return Grant(request, instance)

    def _dismiss(self, instance: Instance, cause: Cause) -> StartUnload:
        instance.move(Event.DISMISSED)
        return StartUnload(instance, cause)

    def _expel(self, copy: Instance) -> list[Effect]:
        """Have a copy go in whatever state it is."""
        copy.waiters.clear()
        if copy.state is State.UNLOADING:
            return []
        if copy.in_flight:
            copy.move(Event.DISMISSED)
            return [CancelLoad(copy)]
        if not copy.holders:
            return [self._dismiss(copy, Cause.ASKED)]
        if copy.state is State.READY:
            copy.move(Event.RETIRED)
        return [Revoke(request) for request in copy.holders]

    def _relieve(self, now: float) -> list[Effect]:
        """Bring devices back to what they have room for, as far as that goes without those in use."""
        evictable = self._evictable(now, None)
        devices = dict.fromkeys(instance.place.device for instance in evictable)
        victims = [victim for device in devices for victim in self._room.excess(device, self.instances, evictable)]
        return [self._dismiss(victim, Cause.PRESSURE) for victim in victims]

    def _evictable(self, now: float, model_id: str | None, device: str | None = None) -> list[Instance]:
        """Copies that may go for the sake of `model_id`, first to go first: its own old one, then by least use."""

        def rank(instance: Instance) -> tuple[bool, bool, float, int]:
            young = now - instance.loaded_at < self.limits.min_residency_s
            return instance.model_id != model_id, young, instance.used_at, instance.serial

        idle = [
            instance
            for instance in self.instances
            if instance.idle
            and device in {None, instance.place.device}
            and (instance.model_id not in self.limits.pinned or instance.model_id == model_id)
        ]
        return sorted(idle, key=rank)

    def _budget(self, device: str) -> float:
        return self.limits.budget.get(device, math.inf)

    def _successor(self, instance: Instance) -> bool:
        return any(i.model_id == instance.model_id and i.serial > instance.serial for i in self.instances)

    # Words.

    def _no_room(self, demand: Demand) -> ResourceExhaustedError:
        places = demand.places or ()
        if len(self.instances) >= self.limits.cap:
            why = f"model_manager.resident_cap is {self.limits.cap:g}"
        else:
            why = "; ".join(
                f"it needs {_mb(place.peak)} on {place.device}, where {_mb(max(0.0, self.free(place.device)))} of "
                f"{_mb(self._room.capacity.get(place.device, math.inf))} for models are free"
                for place in places
            )
        hint = " (and this request may not evict others)" if demand.speculative else ""
        devices = {place.device for place in places}
        held = "; ".join(self._held(device) for device in sorted(devices))
        return ResourceExhaustedError(f"no room for model {demand.model_id!r}: {why}{hint}; {held}")

    def _held(self, device: str) -> str:
        """Who has a device's memory, the largest first."""
        held = sorted((i for i in self.instances if i.place.device == device), key=lambda i: (-i.size, i.serial))
        return f"{device} is held by " + (", ".join(map(self._describe, held)) or "no model of this worker")

    def _describe(self, instance: Instance) -> str:
        use = (
            f"in use by {names(instance.holders)}"
            if instance.holders
            else "pinned, goes by UnloadModel only"
            if instance.model_id in self.limits.pinned and instance.state is State.READY
            else "idle"
            if instance.state is State.READY
            else instance.state.value
        )
        return f"{instance.model_id} ({_mb(instance.size)}, {use})"


def names(requests: Iterable[Request]) -> str:
    """Name those who hold or wait for something, the first few of many."""
    holders = [request.holder for request in requests]
    more = len(holders) - MOST_NAMED
    return ", ".join(holders[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _again(model_id: str, failure: Failure, now: float) -> TtswError:
    kind: Callable[[str], TtswError] = ERRORS[failure.error.code]
    return kind(
        f"model {model_id!r} failed {now - failure.at:.1f} s ago, and is not loaded again for "
        f"{failure.retry_at - now:.1f} s: {failure.error}"
    )


def _mb(size: float) -> str:
    return "unlimited MB" if math.isinf(size) else f"{size / MB:.0f} MB"
