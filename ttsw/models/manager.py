"""Model manager: loads, leases and unloads models, as `ttsw.models.residency` decides.

`ModelManager.run` owns the tasks that do so. A load belongs to the manager rather than to the requests that wait for
it, so a client that leaves cancels no load. Device memory is read before each capacity decision, around each load and
after each unload.
"""

import math
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, Protocol

import structlog
import trio

from ttsw.errors import FailedPreconditionError, InternalError, NotFoundError, TtswError
from ttsw.models.effects import CancelLoad, Demand, Effect, Grant, Refuse, Revoke, StartLoad, StartUnload, Weigh
from ttsw.models.instances import Instance, ModelState, Request, UnloadCause
from ttsw.models.leases import Lease
from ttsw.models.limits import ResidencyLimits
from ttsw.models.loaded_model import LoadedModel
from ttsw.models.memory_probe import LoadOverlap
from ttsw.models.residency import Residency
from ttsw.models.source import ModelSource, V
from ttsw.types import MemorySnapshot, VoicePack

log = structlog.get_logger(__name__)

STOP_S = 30.0
"""Time after shutdown began in which an unload may still start, seconds. Each unload has a deadline of its own."""


@dataclass(frozen=True)
class ModelStatus:
    """A model's status, for listings.

    Args:
        state: Its state.
        device: Its device; empty if it isn't in memory.
        size: Memory accounted for it there, bytes.
        load_s: Duration of its load, seconds.
        leases: Number of leases on it.
        idle_s: Time since its last use, seconds; None while it is in use or not in memory.
        error: Why its last load failed.
    """

    state: ModelState = ModelState.ABSENT
    device: str = ""
    size: int = 0
    load_s: float | None = None
    leases: int = 0
    idle_s: float | None = None
    error: str = ""


class ModelObserver(Protocol):
    """Receives load and unload events."""

    def model_loaded(self, model_id: str, load_s: float) -> None:
        """Handle a model that is loaded and warmed up."""
        ...

    def model_load_failed(self, model_id: str) -> None:
        """Handle a failed load."""
        ...

    def model_unloaded(self, cause: str) -> None:
        """Handle an unloaded model."""
        ...


@dataclass(eq=False)
class _PendingRequest:
    """A request that waits for residency's answer."""

    done: trio.Event = field(default_factory=trio.Event)
    instance: Instance | None = None
    error: TtswError | None = None


class ModelManager(Generic[V]):
    """Owner of every loaded model.

    Args:
        source: Finds and loads models.
        limits: Limits of residency.
        check_s: Interval between checks for idle models, seconds.
        watcher: Receives load and unload events.
    """

    def __init__(
        self,
        source: ModelSource[V],
        limits: ResidencyLimits | None = None,
        *,
        check_s: float = math.inf,
        watcher: ModelObserver | None = None,
    ) -> None:
        self._source, self._check_s = source, check_s
        self._watcher = watcher
        self.seen: Sequence[MemorySnapshot] = ()
        """The devices' memory as last read, including devices that no longer respond."""
        self._residency = Residency(limits or ResidencyLimits())
        self._traffic = LoadOverlap()
        self._loaded: dict[Instance, LoadedModel[V]] = {}
        self._packs: dict[str, VoicePack] = {}
        self._pending: dict[Request, _PendingRequest] = {}
        self._revocations: dict[Request, Callable[[], None]] = {}
        self._revoked: set[Request] = set()
        self._adapters: dict[str, list[Lease[V]]] = {}
        self._nursery: trio.Nursery | None = None
        self._context = copy_context()
        self.loads = self.failed_loads = 0
        self.unloads = Counter[UnloadCause]()

    def __repr__(self) -> str:
        return f"<ModelManager {self._residency!r}>"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the models until cancelled, then unload them all."""
        try:
            async with trio.open_nursery() as self._nursery:
                await self.look()
                task_status.started()
                while True:
                    await trio.sleep(self._check_s)
                    await self.look()
                    self._carry_out(self._residency.tick(trio.current_time()))
        finally:
            self._nursery = None
            self._carry_out(self._residency.stop())
            with trio.move_on_after(STOP_S, shield=True):
                await self._drop_all()
            left = [copy.pack.model_id for copy in self._loaded.values() if copy.value is not None]
            if left:
                log.error("shutdown left models in memory", models=left, waited_s=STOP_S)
            self._loaded.clear()

    async def _drop_all(self) -> None:
        """Unload all models concurrently, but each voice before the model it is based on."""
        async with trio.open_nursery() as nursery:
            for instance in self._loaded:
                if instance.base is None:
                    nursery.start_soon(self._drop, instance, name=f"unload of {instance.model_id}")

    async def _drop(self, instance: Instance) -> None:
        async with trio.open_nursery() as nursery:
            for other in self._loaded:
                if other.base is instance:
                    nursery.start_soon(self._drop, other, name=f"unload of {other.model_id}")
        await trio.lowlevel.checkpoint_if_cancelled()  # past the deadline, no unload starts
        await self._loaded[instance].drop()

    # Queries.

    @property
    def residents(self) -> dict[str, V]:
        """Models that are ready to speak, by id."""
        ready = (copy for instance, copy in self._loaded.items() if instance.state is ModelState.READY)
        return {copy.pack.model_id: copy.value for copy in ready if copy.value is not None}

    @property
    def packs(self) -> dict[str, VoicePack]:
        """Voice packs of the models that are in memory or loading, by id."""
        return {copy.pack.model_id: copy.pack for copy in self._loaded.values()}

    @property
    def failed(self) -> tuple[str, ...]:
        """Models whose last load failed."""
        return tuple(self._residency.failures)

    def status(self, model_id: str) -> ModelStatus:
        """Return a model's current status."""
        state = self._residency.state(model_id)
        failure = self._residency.failures.get(model_id)
        error = str(failure.error) if failure else ""
        copies = [instance for instance in self._loaded if instance.model_id == model_id]
        if not copies:
            return ModelStatus(state, error=error)
        shown = self._residency.ready(model_id) or copies[-1]
        return ModelStatus(
            state,
            device=shown.place.device,
            size=sum(instance.size for instance in copies),
            load_s=self._loaded[shown].load_s or None,
            leases=sum(len(instance.holders) for instance in copies),
            idle_s=shown.idle_s(trio.current_time()) if shown.idle else None,
            error=error,
        )

    async def look(self) -> Sequence[MemorySnapshot]:
        """Read the devices' memory and return the latest values."""
        self._carry_out(self._residency.observe(await self._read_memory(), trio.current_time()))
        return self.seen

    # Requests.

    async def load(self, model_id: str, *, speculative: bool = False, fresh: bool = False) -> None:
        """Load a model. Joins a load in progress, and retries a failed one without waiting for its back-off.

        Args:
            model_id: The full id.
            speculative: Load only into free memory, and don't count this as a use.
            fresh: Load the model anew even if it is in memory; sessions keep the old copy until they are done with it.

        Raises:
            NotFoundError: No model has this id.
            ResourceExhaustedError: The model doesn't fit, and nothing can be evicted for it.
            TtswError: The load failed; the message says why.
        """
        await self._request(
            Request(model_id, "LoadModel", leases=False, fresh=fresh, speculative=speculative, insists=True)
        )

    async def acquire(
        self,
        model_id: str,
        *,
        holder: str = "a caller",
        fresh: bool = False,
        revoked: Callable[[], None] = lambda: None,
    ) -> Lease[V]:
        """Acquire a lease on a model, loading it first if necessary; it stays in memory until the lease is released.

        Args:
            model_id: The full id.
            holder: Name of the holder, as refusals to others mention it.
            fresh: Whether to load a new copy.
            revoked: Called when the lease should be released as soon as possible.

        Raises:
            TtswError: See `load`.
        """
        request = Request(model_id, holder, fresh=fresh)
        return self._lease(request, await self._request(request), revoked)

    @asynccontextmanager
    async def lease(self, model_id: str, *, holder: str = "a caller", fresh: bool = False) -> AsyncGenerator[V, None]:
        """Hold a lease for a block; see `acquire`."""
        with await self.acquire(model_id, holder=holder, fresh=fresh) as lease:
            yield lease.value

    async def unload(self, model_id: str, *, force: bool = False) -> None:
        """Unload a model, and return when its memory is free; does nothing if it isn't in memory.

        Args:
            model_id: The full id.
            force: Unload it even if it is in use: its holders are asked to release it, and it goes once they have.

        Raises:
            NotFoundError: No model has this id.
            FailedPreconditionError: It is in use, or a request waits for its load; the message names the holders.
        """
        if self._residency.state(model_id) is ModelState.ABSENT:
            await self._check_known(model_id)
            return
        self._carry_out(self._residency.unload(model_id, force=force))
        await self._await_end(i for i in self._loaded if i.model_id == model_id and i.state is not ModelState.READY)

    async def relieve(self, model_id: str) -> bool:
        """Free memory for a model that ran out of it while in use, by unloading the unused models on its device.

        Returns:
            Whether any model was unloaded.
        """
        instance = next((i for i in self._loaded if i.model_id == model_id and i.holders), None)
        if instance is None:
            return False
        effects = self._residency.relieve(instance, trio.current_time())
        self._carry_out(effects)
        await self._await_end(effect.instance for effect in effects if isinstance(effect, StartUnload))
        return bool(effects)

    def get_adapter(self, model_id: str) -> V:
        """Acquire a lease on a model in memory without waiting; see `release`.

        Raises:
            FailedPreconditionError: The model isn't in memory.
        """
        ready = self._residency.ready(model_id)
        if ready is None:
            raise FailedPreconditionError(f"model {model_id!r} is not in memory; load it first")
        request = Request(model_id, "get_adapter")
        self._residency.ask(request, trio.current_time())
        lease = self._lease(request, ready)
        self._adapters.setdefault(model_id, []).append(lease)
        return lease.value

    def release(self, model_id: str) -> None:
        """Release a lease that `get_adapter` acquired.

        Raises:
            FailedPreconditionError: `get_adapter` holds no lease on this model.
        """
        if not self._adapters.get(model_id):
            raise FailedPreconditionError(f"get_adapter holds no lease on model {model_id!r}")
        self._adapters[model_id].pop().release()

    async def _request(self, request: Request) -> Instance:
        pending = self._pending[request] = _PendingRequest()
        try:
            self._carry_out(self._residency.ask(request, trio.current_time()))
            await pending.done.wait()
        except trio.Cancelled:
            self._revoked.discard(request)
            self._carry_out(self._residency.withdraw(request, trio.current_time()))
            raise
        finally:
            del self._pending[request]
        if pending.instance is None:
            assert pending.error is not None, "a pending request is granted or refused"
            raise pending.error
        return pending.instance

    def _lease(self, request: Request, instance: Instance, revoked: Callable[[], None] = lambda: None) -> Lease[V]:
        def on_release() -> None:
            del self._revocations[request]
            self._revoked.discard(request)
            self._carry_out(self._residency.release(request, trio.current_time()))

        def revoke() -> None:
            lease.revoked = True
            revoked()

        value = self._loaded[instance].value
        assert value is not None, "a granted model is loaded"
        self._revocations[request] = revoke
        lease = Lease(value, on_release)
        if request in self._revoked:
            revoke()
        return lease

    async def _check_known(self, model_id: str) -> None:
        try:
            await self._source.weigh(model_id)
        except NotFoundError:
            raise
        except TtswError:  # the model exists, but couldn't be loaded
            return

    async def _await_end(self, instances: Iterable[Instance]) -> None:
        for model in [self._loaded[instance] for instance in instances]:
            await model.gone.wait()

    # Execution of effects.

    def _carry_out(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Grant(request, instance):
                    self._answer(request, instance=instance)
                case Refuse(request, error):
                    self._answer(request, error=error)
                case Revoke(request) if request in self._revocations:
                    self._revocations[request]()
                case Revoke(request):  # the requesting task hasn't resumed yet
                    self._revoked.add(request)
                case CancelLoad(instance):
                    self._loaded[instance].load.cancel(reason="unloaded by request")
                case Weigh(demand):
                    self._start(self._weigh, demand, name=f"weighing of {demand.model_id}")
                case StartLoad(instance):
                    pack = self._packs[instance.model_id]
                    base = None if instance.base is None else self._loaded[instance.base].value
                    self._loaded[instance] = LoadedModel(pack, instance.place, self._source, self._traffic, base)
                    log.info("model loading", model_id=pack.model_id, device=instance.place.device)
                    self._start(self._load, instance, name=f"load of {instance.model_id}")
                case StartUnload(instance, cause):
                    self._start(self._unload, instance, cause, name=f"unload of {instance.model_id}")

    def _start(self, task: Callable[..., Awaitable[None]], *args: object, name: str) -> None:
        if self._nursery is not None:  # otherwise the manager is already unloading everything
            start = partial(self._nursery.start_soon, task, *args, name=name)
            self._context.run(start)  # so that a load doesn't log under the id of the session that caused it

    def _answer(self, request: Request, instance: Instance | None = None, error: TtswError | None = None) -> None:
        pending = self._pending[request]
        pending.instance, pending.error = instance, error
        pending.done.set()

    async def _weigh(self, demand: Demand) -> None:
        try:
            pack, places = await self._source.weigh(demand.model_id)
            await self.look()
        except TtswError as error:
            self._carry_out(self._residency.refused(demand, error, trio.current_time()))
        except Exception as error:
            log.exception("failed to inspect model", model_id=demand.model_id)
            fault = InternalError(f"inspecting model {demand.model_id} failed: {type(error).__name__}: {error}")
            self._carry_out(self._residency.refused(demand, fault, trio.current_time()))
        else:
            self._packs[demand.model_id] = pack
            self._carry_out(self._residency.weighed(demand, places, trio.current_time(), pack.base))

    async def _load(self, instance: Instance) -> None:
        copy, error = self._loaded[instance], None
        with copy.load:
            try:
                await copy.open(lambda: self._carry_out(self._residency.loaded(instance)))
            except TtswError as fault:
                error = fault
        seen = await self._read_memory()
        now = trio.current_time()
        if copy.value is not None:
            self.loads += 1
            if self._watcher is not None:
                self._watcher.model_loaded(instance.model_id, copy.load_s)
            size = copy.measured.size if copy.measured else None
            log.info("model loaded", model_id=instance.model_id, load_s=round(copy.load_s, 3), bytes=size)
            self._start(self._watch, instance, name=f"watch over {instance.model_id}")
            self._carry_out(self._residency.warmed(instance, now, size, seen))
            return
        if error is None:
            self._carry_out(self._residency.unloaded(instance, now, seen))
        else:
            self.failed_loads += 1
            if self._watcher is not None:
                self._watcher.model_load_failed(instance.model_id)
            log.warning("model not loaded", model_id=instance.model_id, error=str(error))
            self._carry_out(self._residency.failed(instance, error, now, seen))
        self._forget(instance)

    async def _watch(self, instance: Instance) -> None:
        error = await self._loaded[instance].lost()
        if error is not None:
            log.warning("model lost", model_id=instance.model_id, error=str(error))
            self._carry_out(self._residency.lost(instance, error, trio.current_time()))

    async def _unload(self, instance: Instance, cause: UnloadCause) -> None:
        idle_s = trio.current_time() - max(instance.used_at, instance.loaded_at)
        back = await self._loaded[instance].close(instance.size)
        self.unloads[cause] += 1
        if self._watcher is not None:
            self._watcher.model_unloaded(cause)
        log.info(
            "model unloaded", model_id=instance.model_id, cause=cause.value, idle_s=round(idle_s, 1), bytes_back=back
        )
        seen = await self._read_memory()
        self._carry_out(self._residency.unloaded(instance, trio.current_time(), seen))
        self._forget(instance)

    async def _read_memory(self) -> Sequence[MemorySnapshot]:
        """Read the memory of the devices that respond; keep the last known values of the others."""
        fresh = await self._source.look()
        known = {memory.device: memory for memory in (*self.seen, *fresh)}
        self.seen = tuple(known.values())
        return fresh

    def _forget(self, instance: Instance) -> None:
        self._loaded.pop(instance).gone.set()
