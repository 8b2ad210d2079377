"""Which models are in memory: decides on each event what is to be loaded, lent, evicted or refused, and does nothing.

Events come as method calls with the time; each returns the effects that its caller is to carry out, in order. Effects
that take time are answered by further events (`StartLoad` by `loaded` and `warmed` or `failed`, `StartUnload` and
`CancelLoad` by `unloaded`, `Weigh` by `weighed` or `refused`). So every decision is taken on one state, in one place.

Requests for a model that is being loaded join its load. Loads wait in line, first come first served, and room is made
before a load begins. What is leased is never evicted, nor what is pinned; the rest goes by least recent use, with those
that have had their minimum residency first. A load that can't fit is refused at once, unless something is under way
that may change that.

A model that is based on another (a LoRA voice on its base) has that one loaded first, and keeps it from going while it
is in use; where the base goes, it goes too. It takes its own bytes, and doesn't count against the cap.
"""

import math
from collections.abc import Iterable
from itertools import count

from ttsw.errors import (
    FailedPreconditionError,
    OutOfMemoryError,
    TtswError,
    UnavailableError,
)
from ttsw.models.capacity import Capacity, Start
from ttsw.models.effects import CancelLoad, Demand, Effect, Grant, Refuse, Revoke, StartLoad, StartUnload, Weigh
from ttsw.models.instances import Footprint, Instance, InstanceEvent, ModelState, Request, UnloadCause
from ttsw.models.limits import ResidencyLimits
from ttsw.models.refusals import Failure, held, names, no_room, try_later
from ttsw.types import MemorySnapshot

Seen = Iterable[MemorySnapshot]


class Residency:
    """The state of all models, and every decision on it.

    Args:
        limits: What to keep to.
    """

    def __init__(self, limits: ResidencyLimits) -> None:
        self.limits = limits
        self.instances: list[Instance] = []
        """All copies there are, the oldest first."""
        self.failures: dict[str, Failure] = {}
        self._line: list[Demand] = []
        self._errands: dict[Request, Demand] = {}
        self._losses: dict[str, int] = {}
        self._room = Capacity(limits.cap, dict(limits.budget))
        self._serial = count(1)
        self._stopped = False

    def __repr__(self) -> str:
        copies = ", ".join(f"{i.model_id} {i.state} ({len(i.holders)})" for i in self.instances)
        waiting = ", ".join(demand.model_id for demand in self._line)
        return f"<Residency: {copies or 'nothing'}{f'; waiting: {waiting}' if waiting else ''}>"

    # What can be asked.

    def ready(self, model_id: str) -> Instance | None:
        """The copy that sessions get now."""
        return next((i for i in self.instances if i.model_id == model_id and i.state is ModelState.READY), None)

    def incoming(self, model_id: str) -> Instance | None:
        """The copy that is on its way in."""
        return next((i for i in self.instances if i.model_id == model_id and i.in_flight), None)

    def state(self, model_id: str) -> ModelState:
        """How a model stands: the best of its copies' states, loads that wait in line included."""
        states = {instance.state for instance in self.instances if instance.model_id == model_id}
        if any(demand.model_id == model_id for demand in self._line):
            states.add(ModelState.LOADING)
        for state in (
            ModelState.READY,
            ModelState.WARMING,
            ModelState.LOADING,
            ModelState.DRAINING,
            ModelState.UNLOADING,
        ):
            if state in states:
                return state
        return ModelState.FAILED if model_id in self.failures else ModelState.ABSENT

    def free(self, device: str) -> float:
        """Bytes of a device that models may still take; `inf` where nothing bounds them."""
        return self._room.free(device, self.instances)

    # What clients do.

    def ask(self, request: Request, now: float) -> list[Effect]:
        """Somebody wants a model."""
        if self._stopped:
            return self._refuse([request], UnavailableError("the worker is stopping"))
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
            return self._refuse([request], try_later(request.model_id, failure, now))
        self._line.append(Demand(request.model_id, {request: None}))
        return [Weigh(self._line[-1])]

    def withdraw(self, request: Request, now: float) -> list[Effect]:
        """Somebody no longer wants what was asked for, whether he has it already or not."""
        self._forgo(request)
        return self.release(request, now)

    def release(self, request: Request, now: float) -> list[Effect]:
        """A lease is given back; one that isn't held is no fault."""
        instance = next((i for i in self.instances if request in i.holders), None)
        if instance is None:
            return self._advance(now)
        del instance.holders[request]
        instance.used_at = now
        if instance.base is not None:
            instance.base.used_at = now
        return self._settle(instance) or self._advance(now)

    def unload(self, model_id: str, *, force: bool = False) -> list[Effect]:
        """Somebody asks for a model to go; `force` sees to it that it does, as soon as its holders let go.

        Raises:
            FailedPreconditionError: It is in use, or waited for; the text says by whom.
        """
        copies = [i for i in self.instances if i.base is not None and i.base.model_id == model_id]
        copies += [i for i in self.instances if i.model_id == model_id]
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
        for demand in demands:
            self._drop(demand)
        return [*self._refuse(waiting, error), *(effect for copy in copies for effect in self._expel(copy))]

    # How effects turned out.

    def weighed(self, demand: Demand, places: Iterable[Footprint], now: float, base: str = "") -> list[Effect]:
        """It is known what a load takes, and which model it is based on, if it does."""
        demand.places, demand.base = tuple(places), base
        return self._advance(now)

    def refused(self, demand: Demand, error: TtswError, now: float) -> list[Effect]:
        """A load can't even begin."""
        if demand not in self._line:
            return []
        self._line.remove(demand)
        return [*self._refuse(demand.requests, error), *self._advance(now)]

    def loaded(self, instance: Instance) -> list[Effect]:
        """The weights are in memory; what remains is to warm up."""
        if instance.state is ModelState.LOADING:  # otherwise it is being cancelled
            instance.move(InstanceEvent.LOADED)
        return []

    def warmed(self, instance: Instance, now: float, size: int | None = None, seen: Seen = ()) -> list[Effect]:
        """A copy is ready, and takes `size` bytes if that could be measured."""
        if instance.state is ModelState.UNLOADING:  # asked to go in the last moment
            return [StartUnload(instance, UnloadCause.ASKED)]
        base = instance.base
        old = self.ready(instance.model_id)
        instance.move(InstanceEvent.WARMED)
        instance.size = instance.place.size if size is None else size
        instance.loaded_at = now
        self.failures.pop(instance.model_id, None)
        effects = [e for request in instance.waiters for e in self._serve(request, instance, now)]
        instance.waiters.clear()
        if old is not None:
            effects += self._retire(old, UnloadCause.REPLACED)
        if base is not None and base.state is ModelState.DRAINING:
            effects += [*self._retire(instance, UnloadCause.REPLACED, revoke=True), *self._settle(base)]
        return effects + self.observe(seen, now)

    def failed(self, instance: Instance, error: TtswError, now: float, seen: Seen = ()) -> list[Effect]:
        """A load failed, and left nothing in memory."""
        if instance.state is ModelState.UNLOADING:
            return self.unloaded(instance, now, seen)
        ended = self._forget(instance)
        if isinstance(error, OutOfMemoryError) and not instance.retried:
            victims = self._evictable(now, instance.model_id, instance.place.device, spare=instance.base)
            if victims and instance.waiters:
                demand = Demand(instance.model_id, instance.waiters, retried=True)
                self._line.insert(0, demand)
                return [*ended, *self._evict(victims, UnloadCause.OUT_OF_MEMORY), Weigh(demand)]
        if isinstance(error, OutOfMemoryError):
            error = OutOfMemoryError(f"{error}; {held(instance.place.device, self.instances, self.limits)}")
        before = self.failures.get(instance.model_id)
        times = 1 if before is None else before.times + 1
        self.failures[instance.model_id] = Failure(error, now, times, now + self._backoff_s(times))
        return [*ended, *self._refuse(instance.waiters, error), *self.observe(seen, now)]

    def unloaded(self, instance: Instance, now: float, seen: Seen = ()) -> list[Effect]:
        """A copy is gone."""
        return [*self._forget(instance), *self.observe(seen, now)]

    # What the world does.

    def observe(self, seen: Seen, now: float) -> list[Effect]:
        """Devices' memory was looked at: what is used there, and isn't a model of ours, isn't for models.

        While something comes or goes on a device, nobody can say how much of it is there; what was seen before counts.
        """
        for memory in seen:
            here = [instance for instance in self.instances if instance.place.device == memory.device]
            if not any(instance.unfinished or instance.state is ModelState.UNLOADING for instance in here):
                others = max(0, memory.used - sum(instance.size for instance in here))
                left = min(memory.total - self.limits.headroom - others, self._budget(memory.device))
                self._room = Capacity(self.limits.cap, {**self._room.capacity, memory.device: max(0.0, left)})
        return self._relieve(now) + self._advance(now)

    def tick(self, now: float) -> list[Effect]:
        """Time has passed: what nobody has used for its time goes."""

        def expired(instance: Instance) -> bool:
            young = now - instance.loaded_at < self.limits.min_residency_s
            return not young and instance.idle_s(now) >= self.limits.ttl_s

        free = (instance for instance in self.instances if instance.free and not self._pinned(instance))
        return self._evict([i for i in free if all(map(expired, [i, *_ready(i.dependents)]))], UnloadCause.TTL)

    def lost(self, instance: Instance, error: TtswError, now: float) -> list[Effect]:
        """A copy is gone by itself. Its holders let go of it; the next request loads another.

        One that keeps being lost isn't loaded again at once, as after failed loads.
        """
        if instance.lost or instance.state not in {ModelState.READY, ModelState.DRAINING}:
            return []
        effects = [effect for each in instance.dependents for effect in self.lost(each, error, now)]
        instance.lost, instance.size = True, 0
        before = self._losses.get(instance.model_id, 0)
        losses = before if now - instance.loaded_at < self.limits.most_backoff_s else 0
        self._losses[instance.model_id] = losses + 1
        if losses:
            wait_s = self._backoff_s(losses)
            self.failures[instance.model_id] = Failure(error, now, losses, now + wait_s)
        return effects + self._retire(instance, UnloadCause.LOST, revoke=True)

    def relieve(self, instance: Instance, now: float) -> list[Effect]:
        """A model in use has found its device without memory: all goes from there that nobody uses."""
        victims = self._evictable(now, instance.model_id, instance.place.device, spare=instance.base)
        return self._evict(victims, UnloadCause.OUT_OF_MEMORY)

    def stop(self) -> list[Effect]:
        """Everything ends: nobody gets anything from now on."""
        self._stopped = True
        error = UnavailableError("the worker is stopping")
        waiting = [request for demand in self._line for request in demand.requests]
        waiting += [request for instance in self.instances for request in instance.waiters]
        self._line.clear()
        for instance in self.instances:
            instance.waiters.clear()
        return self._refuse(waiting, error)

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
            if demand.retried and any(instance.state is ModelState.UNLOADING for instance in self.instances):
                break  # whatever the sums say, memory ran out before these went
            base = self.ready(demand.base)
            if demand.base and base is None:
                if demand.errand is not None:
                    break
                effects += self._call_base(demand, now)
                continue
            places = [each for each in demand.places or () if base is None or each.device == base.place.device]
            evictable = [] if demand.speculative else self._evictable(now, demand.model_id, spare=base)
            present = [instance for instance in self.instances if not instance.lost]
            plan = self._room.plan(places, present, evictable, counts=base is None)
            if isinstance(plan, Start):
                effects.append(self._load(demand, plan.place, base))
            elif plan is None:
                self._line.remove(demand)
                effects += self._refuse(demand.requests, no_room(demand, self.instances, self._room, self.limits))
            else:
                effects += self._evict(plan.evict, UnloadCause.ROOM)
                break
        return effects

    def _call_base(self, demand: Demand, now: float) -> list[Effect]:
        """Have the model come that a demand is based on, before it in the line."""
        insists = any(request.insists for request in demand.requests)
        holder, speculative = f"model {demand.model_id}", demand.speculative
        errand = Request(demand.base, holder, leases=False, speculative=speculative, insists=insists)
        demand.errand, self._errands[errand] = errand, demand
        effects = self.ask(errand, now)
        self._line.sort(key=lambda each: errand not in each.requests)
        return effects

    def _load(self, demand: Demand, place: Footprint, base: Instance | None) -> StartLoad:
        self._line.remove(demand)
        instance = Instance(demand.model_id, place, next(self._serial), demand.retried, size=place.peak, base=base)
        instance.waiters = demand.requests
        if base is not None:
            base.dependents[instance] = None
        self.instances.append(instance)
        return StartLoad(instance)

    def _grant(self, request: Request, instance: Instance, now: float) -> Grant:
        if request.leases:
            instance.holders[request] = None
        if not request.speculative:
            instance.used_at = now
            if instance.base is not None:
                instance.base.used_at = now
        return Grant(request, instance)

    def _serve(self, request: Request, instance: Instance, now: float) -> list[Effect]:
        """Give a request what it waited for; one that is a demand's own lets that go on."""
        demand = self._errands.pop(request, None)
        if demand is None:
            return [self._grant(request, instance, now)]
        demand.errand = None
        return []

    def _refuse(self, requests: Iterable[Request], error: TtswError) -> list[Effect]:
        """Refuse requests; where one is a demand's own, the demand with it."""
        effects: list[Effect] = []
        for request in requests:
            demand = self._errands.pop(request, None)
            if demand is None:
                effects.append(Refuse(request, error))
            elif demand in self._line:
                self._line.remove(demand)
                why = type(error)(f"model {demand.model_id!r} is based on {demand.base!r}: {error}")
                effects += self._refuse(demand.requests, why)
        return effects

    def _drop(self, demand: Demand) -> None:
        """Take a demand out of the line, and what was asked for on its behalf."""
        self._line.remove(demand)
        if demand.errand is not None:
            self._errands.pop(demand.errand, None)
            self._forgo(demand.errand)

    def _forgo(self, request: Request) -> None:
        """Nobody waits for this request any more."""
        for instance in self.instances:
            instance.waiters.pop(request, None)  # the load goes on: it can't be undone, and may soon be wanted
        for demand in [demand for demand in self._line if request in demand.requests]:
            del demand.requests[request]
            if not demand.requests:
                self._drop(demand)

    def _dismiss(self, instance: Instance, cause: UnloadCause) -> list[Effect]:
        """Have a copy unloaded that nobody needs, and what is based on it before."""
        effects = self._evict(_ready(instance.dependents), cause)
        instance.move(InstanceEvent.DISMISSED)
        return [*effects, StartUnload(instance, cause)]

    def _evict(self, instances: Iterable[Instance], cause: UnloadCause) -> list[Effect]:
        """Dismiss copies, those excepted that have gone with another."""
        return [e for each in [*instances] if each.state is ModelState.READY for e in self._dismiss(each, cause)]

    def _retire(self, instance: Instance, cause: UnloadCause, *, revoke: bool = False) -> list[Effect]:
        """Have a copy go as soon as nobody needs it, and what is based on it.

        Args:
            instance: The copy: ready, or retired already.
            cause: Why.
            revoke: Whether its holders are asked to let go.
        """
        effects = [e for each in _ready(instance.dependents) for e in self._retire(each, cause, revoke=revoke)]
        if not instance.needed:
            return effects + self._dismiss(instance, cause)
        if instance.state is ModelState.READY:
            instance.move(InstanceEvent.RETIRED)
        return effects + [Revoke(request) for request in instance.holders if revoke]

    def _settle(self, instance: Instance) -> list[Effect]:
        """See a retired copy off that nobody needs any more, and the one that it is based on."""
        effects: list[Effect] = []
        if instance.state is ModelState.DRAINING and not instance.needed:
            cause = (
                UnloadCause.LOST
                if instance.lost
                else UnloadCause.REPLACED
                if self._successor(instance)
                else UnloadCause.ASKED
            )
            effects = self._dismiss(instance, cause)
        return effects if instance.base is None else effects + self._settle(instance.base)

    def _forget(self, instance: Instance) -> list[Effect]:
        """A copy is no more."""
        self.instances.remove(instance)
        if instance.base is None:
            return []
        del instance.base.dependents[instance]
        return self._settle(instance.base)

    def _expel(self, copy: Instance) -> list[Effect]:
        """Have a copy go in whatever state it is."""
        copy.waiters.clear()
        if copy.state is ModelState.UNLOADING:
            return []
        if copy.in_flight:
            copy.move(InstanceEvent.DISMISSED)
            return [CancelLoad(copy)]
        return self._retire(copy, UnloadCause.ASKED, revoke=True)

    def _relieve(self, now: float) -> list[Effect]:
        """Bring devices back to what they have room for, as far as that goes without those in use."""
        evictable = self._evictable(now, None)
        devices = dict.fromkeys(instance.place.device for instance in evictable)
        victims = [victim for device in devices for victim in self._room.excess(device, self.instances, evictable)]
        return self._evict(victims, UnloadCause.PRESSURE)

    def _evictable(
        self, now: float, model_id: str | None, device: str | None = None, spare: Instance | None = None
    ) -> list[Instance]:
        """Copies that may go for the sake of `model_id`, first to go first.

        That is its own old one, then by least use; what others are based on comes after them.

        Args:
            now: The time, s.
            model_id: What is to come.
            device: Where they are to be; None for anywhere.
            spare: A copy that stays: what is to come is based on it.
        """

        def rank(instance: Instance) -> tuple[bool, bool, float, int, int]:
            family = [instance, *_ready(instance.dependents)]
            young = any(now - each.loaded_at < self.limits.min_residency_s for each in family)
            used_at = max(each.used_at for each in family)
            return instance.model_id != model_id, young, used_at, len(family), instance.serial

        free = [
            instance
            for instance in self.instances
            if instance.free
            and instance is not spare
            and device in {None, instance.place.device}
            and (instance.model_id == model_id or not self._pinned(instance))
        ]
        return sorted(free, key=rank)

    def _pinned(self, instance: Instance) -> bool:
        return any(each.model_id in self.limits.pinned for each in (instance, *_ready(instance.dependents)))

    def _budget(self, device: str) -> float:
        return self.limits.budget.get(device, math.inf)

    def _successor(self, instance: Instance) -> bool:
        return any(i.model_id == instance.model_id and i.serial > instance.serial for i in self.instances)


def _ready(instances: Iterable[Instance]) -> list[Instance]:
    return [instance for instance in instances if instance.state is ModelState.READY]
