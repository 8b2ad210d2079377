"""Residency: decides which models to load, lease, evict or refuse. It is pure: it performs no I/O and reads no clock.

Events arrive as method calls with the current time. Each returns the effects that the caller must carry out, in order.
An effect that takes time is answered by another event: `StartLoad` by `loaded` and `warmed` or by `failed`,
`StartUnload` and `CancelLoad` by `unloaded`, `Weigh` by `weighed` or `refused`.

Requests for a loading model join its load. Loads queue first come, first served, and memory is freed before a load
begins. Leased and pinned models are never evicted; others go by least recent use, those past their minimum residency
first. A load that can't fit is refused at once, unless an unload in progress may make room.

A model that is based on another (a LoRA voice on its base model) has the other loaded first and keeps it in memory
while in use; evicting the base evicts both. It is charged its own bytes, and doesn't count towards the cap.
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
    """The state of all models, and the decisions on it.

    Args:
        limits: Limits of residency.
    """

    def __init__(self, limits: ResidencyLimits) -> None:
        self.limits = limits
        self.instances: list[Instance] = []
        """All copies, oldest first."""
        self.failures: dict[str, Failure] = {}
        self._line: list[Demand] = []
        self._errands: dict[Request, Demand] = {}
        self._losses: dict[str, int] = {}
        self._capacity = Capacity(limits.cap, dict(limits.budget))
        self._serial = count(1)
        self._stopped = False

    def __repr__(self) -> str:
        copies = ", ".join(f"{i.model_id} {i.state} ({len(i.holders)})" for i in self.instances)
        waiting = ", ".join(demand.model_id for demand in self._line)
        return f"<Residency: {copies or 'nothing'}{f'; waiting: {waiting}' if waiting else ''}>"

    # Queries.

    def ready(self, model_id: str) -> Instance | None:
        """Return the copy that new sessions get, or None."""
        return next((i for i in self.instances if i.model_id == model_id and i.state is ModelState.READY), None)

    def incoming(self, model_id: str) -> Instance | None:
        """Return the copy that is loading, or None."""
        return next((i for i in self.instances if i.model_id == model_id and i.in_flight), None)

    def state(self, model_id: str) -> ModelState:
        """Return a model's state: the most advanced one of its copies and queued loads."""
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
        """Return the bytes of a device still available to models; `inf` if unlimited."""
        return self._capacity.free(device, self.instances)

    # Requests.

    def ask(self, request: Request, now: float) -> list[Effect]:
        """Handle a request for a model."""
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
        """Withdraw a request, whether it was granted or still waits."""
        self._forgo(request)
        return self.release(request, now)

    def release(self, request: Request, now: float) -> list[Effect]:
        """Release a lease; does nothing if the request holds none."""
        instance = next((i for i in self.instances if request in i.holders), None)
        if instance is None:
            return self._advance(now)
        del instance.holders[request]
        instance.used_at = now
        if instance.base is not None:
            instance.base.used_at = now
        return self._settle(instance) or self._advance(now)

    def unload(self, model_id: str, *, force: bool = False) -> list[Effect]:
        """Unload a model by request; with `force`, as soon as its holders have released it.

        Raises:
            FailedPreconditionError: It is in use, or a request waits for its load; the message names the holders.
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

    # Outcomes of effects.

    def weighed(self, demand: Demand, places: Iterable[Footprint], now: float, base: str = "") -> list[Effect]:
        """Note a queued load's footprints, and the model it is based on, if any."""
        demand.places, demand.base = tuple(places), base
        return self._advance(now)

    def refused(self, demand: Demand, error: TtswError, now: float) -> list[Effect]:
        """Refuse a queued load that can't start."""
        if demand not in self._line:
            return []
        self._line.remove(demand)
        return [*self._refuse(demand.requests, error), *self._advance(now)]

    def loaded(self, instance: Instance) -> list[Effect]:
        """Note that the weights are in memory and warm-up begins."""
        if instance.state is ModelState.LOADING:  # otherwise its load is being cancelled
            instance.move(InstanceEvent.LOADED)
        return []

    def warmed(self, instance: Instance, now: float, size: int | None = None, seen: Seen = ()) -> list[Effect]:
        """Note that a copy is ready, with its measured size if known."""
        if instance.state is ModelState.UNLOADING:  # unloaded by request at the last moment
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
        """Note a failed load, which has left nothing in memory."""
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
        """Note that a copy has been unloaded."""
        return [*self._forget(instance), *self.observe(seen, now)]

    # Outside events.

    def observe(self, seen: Seen, now: float) -> list[Effect]:
        """Note the devices' memory: what others use there isn't available to models.

        A device with a load or unload in progress keeps its previous value, since its reading is ambiguous.
        """
        for memory in seen:
            here = [instance for instance in self.instances if instance.place.device == memory.device]
            if not any(instance.unfinished or instance.state is ModelState.UNLOADING for instance in here):
                others = max(0, memory.used - sum(instance.size for instance in here))
                left = min(memory.total - self.limits.headroom - others, self._budget(memory.device))
                self._capacity = Capacity(self.limits.cap, {**self._capacity.capacity, memory.device: max(0.0, left)})
        return self._relieve(now) + self._advance(now)

    def tick(self, now: float) -> list[Effect]:
        """Unload the models whose time to live has expired."""

        def expired(instance: Instance) -> bool:
            young = now - instance.loaded_at < self.limits.min_residency_s
            return not young and instance.idle_s(now) >= self.limits.ttl_s

        free = (instance for instance in self.instances if instance.free and not self._pinned(instance))
        return self._evict([i for i in free if all(map(expired, [i, *_ready(i.dependents)]))], UnloadCause.TTL)

    def lost(self, instance: Instance, error: TtswError, now: float) -> list[Effect]:
        """Note that a copy was lost. Its holders release it; the next request loads another copy.

        A model that is lost repeatedly is subject to the same back-off as failed loads.
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
        """Evict all unused models from the device of a model that ran out of memory while in use."""
        victims = self._evictable(now, instance.model_id, instance.place.device, spare=instance.base)
        return self._evict(victims, UnloadCause.OUT_OF_MEMORY)

    def stop(self) -> list[Effect]:
        """Refuse every waiting and later request, and cancel the loads."""
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
        """Advance the queue, strictly in order, so that no load starves."""
        effects: list[Effect] = []
        while self._line and self._line[0].places is not None:
            demand = self._line[0]
            running = [instance.model_id for instance in self.instances if instance.unfinished]
            if len(running) >= self.limits.loads or demand.model_id in running:
                break
            if demand.retried and any(instance.state is ModelState.UNLOADING for instance in self.instances):
                break  # the accounts notwithstanding, memory ran out before these were evicted
            base = self.ready(demand.base)
            if demand.base and base is None:
                if demand.errand is not None:
                    break
                effects += self._call_base(demand, now)
                continue
            places = [each for each in demand.places or () if base is None or each.device == base.place.device]
            evictable = [] if demand.speculative else self._evictable(now, demand.model_id, spare=base)
            present = [instance for instance in self.instances if not instance.lost]
            plan = self._capacity.plan(places, present, evictable, counts=base is None)
            if isinstance(plan, Start):
                effects.append(self._load(demand, plan.place, base))
            elif plan is None:
                self._line.remove(demand)
                effects += self._refuse(demand.requests, no_room(demand, self.instances, self._capacity, self.limits))
            else:
                effects += self._evict(plan.evict, UnloadCause.ROOM)
                break
        return effects

    def _call_base(self, demand: Demand, now: float) -> list[Effect]:
        """Request the base model of a queued load, ahead of it in the queue."""
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
        """Grant a request; one made on behalf of a queued load lets that load continue."""
        demand = self._errands.pop(request, None)
        if demand is None:
            return [self._grant(request, instance, now)]
        demand.errand = None
        return []

    def _refuse(self, requests: Iterable[Request], error: TtswError) -> list[Effect]:
        """Refuse requests; refusing one made on behalf of a queued load refuses that load, too."""
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
        """Remove a load from the queue, with the request made on its behalf."""
        self._line.remove(demand)
        if demand.errand is not None:
            self._errands.pop(demand.errand, None)
            self._forgo(demand.errand)

    def _forgo(self, request: Request) -> None:
        """Forget a request that no longer waits."""
        for instance in self.instances:
            instance.waiters.pop(request, None)  # the load continues: it can't be undone, and may soon be needed
        for demand in [demand for demand in self._line if request in demand.requests]:
            del demand.requests[request]
            if not demand.requests:
                self._drop(demand)

    def _dismiss(self, instance: Instance, cause: UnloadCause) -> list[Effect]:
        """Unload an unused copy, after the copies based on it."""
        effects = self._evict(_ready(instance.dependents), cause)
        instance.move(InstanceEvent.DISMISSED)
        return [*effects, StartUnload(instance, cause)]

    def _evict(self, instances: Iterable[Instance], cause: UnloadCause) -> list[Effect]:
        """Unload copies, except those already unloaded together with another."""
        return [e for each in [*instances] if each.state is ModelState.READY for e in self._dismiss(each, cause)]

    def _retire(self, instance: Instance, cause: UnloadCause, *, revoke: bool = False) -> list[Effect]:
        """Unload a copy, and the copies based on it, as soon as it is unused.

        Args:
            instance: The copy; ready, or already retired.
            cause: Why.
            revoke: Whether to ask its holders to release it.
        """
        effects = [e for each in _ready(instance.dependents) for e in self._retire(each, cause, revoke=revoke)]
        if not instance.needed:
            return effects + self._dismiss(instance, cause)
        if instance.state is ModelState.READY:
            instance.move(InstanceEvent.RETIRED)
        return effects + [Revoke(request) for request in instance.holders if revoke]

    def _settle(self, instance: Instance) -> list[Effect]:
        """Unload a retired copy once it is unused, then the copy that it is based on."""
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
        """Remove a copy from the state."""
        self.instances.remove(instance)
        if instance.base is None:
            return []
        del instance.base.dependents[instance]
        return self._settle(instance.base)

    def _expel(self, copy: Instance) -> list[Effect]:
        """Unload a copy in any state."""
        copy.waiters.clear()
        if copy.state is ModelState.UNLOADING:
            return []
        if copy.in_flight:
            copy.move(InstanceEvent.DISMISSED)
            return [CancelLoad(copy)]
        return self._retire(copy, UnloadCause.ASKED, revoke=True)

    def _relieve(self, now: float) -> list[Effect]:
        """Evict unused copies from devices that hold more than their limit."""
        evictable = self._evictable(now, None)
        devices = dict.fromkeys(instance.place.device for instance in evictable)
        victims = [victim for device in devices for victim in self._capacity.excess(device, self.instances, evictable)]
        return self._evict(victims, UnloadCause.PRESSURE)

    def _evictable(
        self, now: float, model_id: str | None, device: str | None = None, spare: Instance | None = None
    ) -> list[Instance]:
        """Return the copies that may be evicted for `model_id`, in order of eviction.

        That is its own old copy first, then by least recent use; base models come after the voices based on them.

        Args:
            now: The time, seconds.
            model_id: The model to load.
            device: Restricts the result to a device; None for any.
            spare: A copy to keep: the base of the model to load.
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
