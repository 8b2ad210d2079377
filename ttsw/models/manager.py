"""The models in memory: carries out what `ttsw.models.residency` decides. Loads them, lends them, unloads them.

Every decision is residency's; here is one owner, `ModelManager.run`, whose nursery holds the tasks that carry them
out. A load belongs to it and not to those who wait for it, so that a client who leaves ends nobody's load. Memory is
looked at before each decision on room, around each load and after each unload.
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
"""How long after the end began an unload may still begin, s. Each then has a deadline of its own."""


@dataclass(frozen=True)
class ModelStatus:
    """How a model stands, for those who list models.

    Args:
        state: Its state.
        device: Where it is; empty where it isn't in memory.
        size: What it counts for there, bytes.
        load_s: How long its load took, s.
        leases: How many hold it.
        idle_s: How long nobody has used it, s; None while it is in use, or not in memory.
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
    """Told what comes and goes."""

    def model_loaded(self, model_id: str, load_s: float) -> None:
        """A model is loaded, and warm."""
        ...

    def model_load_failed(self, model_id: str) -> None:
        """A model could not be loaded."""
        ...

    def model_unloaded(self, cause: str) -> None:
        """A model is unloaded."""
        ...


@dataclass(eq=False)
class _Wish:
    """Somebody waits for residency's answer."""

    done: trio.Event = field(default_factory=trio.Event)
    instance: Instance | None = None
    error: TtswError | None = None


class ModelManager(Generic[V]):
    """Owner of every loaded model.

    Args:
        source: Where models come from.
        limits: What is kept to.
        check_s: How often idle models are looked for, s.
        watcher: Told what comes and goes.
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
        """The devices' memory as last seen, that of silent ones included."""
        self._residency = Residency(limits or ResidencyLimits())
        self._traffic = LoadOverlap()
        self._copies: dict[Instance, LoadedModel[V]] = {}
        self._packs: dict[str, VoicePack] = {}
        self._wishes: dict[Request, _Wish] = {}
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
        """Own the models until cancelled; then unload them all."""
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
            left = [copy.pack.model_id for copy in self._copies.values() if copy.value is not None]
            if left:
                log.error("shutdown left models in memory", models=left, waited_s=STOP_S)
            self._copies.clear()

    async def _drop_all(self) -> None:
        """Unload all models at the same time; those that are based on another come before it."""
        async with trio.open_nursery() as nursery:
            for instance in self._copies:
                if instance.base is None:
                    nursery.start_soon(self._drop, instance, name=f"unload of {instance.model_id}")

    async def _drop(self, instance: Instance) -> None:
        async with trio.open_nursery() as nursery:
            for other in self._copies:
                if other.base is instance:
                    nursery.start_soon(self._drop, other, name=f"unload of {other.model_id}")
        await trio.lowlevel.checkpoint_if_cancelled()  # what is late doesn't begin
        await self._copies[instance].drop()

    # What can be asked.

    @property
    def residents(self) -> dict[str, V]:
        """Models that are ready to speak, by id."""
        ready = (copy for instance, copy in self._copies.items() if instance.state is ModelState.READY)
        return {copy.pack.model_id: copy.value for copy in ready if copy.value is not None}

    @property
    def packs(self) -> dict[str, VoicePack]:
        """What the models in memory, or on their way, were loaded from, by id."""
        return {copy.pack.model_id: copy.pack for copy in self._copies.values()}

    @property
    def failed(self) -> tuple[str, ...]:
        """Models whose last load failed."""
        return tuple(self._residency.failures)

    def status(self, model_id: str) -> ModelStatus:
        """How a model stands now."""
        state = self._residency.state(model_id)
        failure = self._residency.failures.get(model_id)
        error = str(failure.error) if failure else ""
        copies = [instance for instance in self._copies if instance.model_id == model_id]
        if not copies:
            return ModelStatus(state, error=error)
        shown = self._residency.ready(model_id) or copies[-1]
        return ModelStatus(
            state,
            device=shown.place.device,
            size=sum(instance.size for instance in copies),
            load_s=self._copies[shown].load_s or None,
            leases=sum(len(instance.holders) for instance in copies),
            idle_s=shown.idle_s(trio.current_time()) if shown.idle else None,
            error=error,
        )

    async def look(self) -> Sequence[MemorySnapshot]:
        """Look at the devices' memory; returns what is known of it then."""
        self._carry_out(self._residency.observe(await self._see(), trio.current_time()))
        return self.seen

    # What clients do.

    async def load(self, model_id: str, *, speculative: bool = False, fresh: bool = False) -> None:
        """Have a model in memory; joins a load in flight, and tries at once what has just failed.

        Args:
            model_id: The full id.
            speculative: Only where there is free room for it; and it doesn't count as a use.
            fresh: Load it anew even if it is there; those who use the old copy keep it until they are done.

        Raises:
            NotFoundError: There is no such model.
            ResourceExhaustedError: There is no room for it, and nothing that may go.
            TtswError: The load failed; the text says why.
        """
        await self._obtain(
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
        """Take a lease on a model, loading it first where needed; it stays in memory until the lease is given back.

        Args:
            model_id: The full id.
            holder: Who takes it, as a refusal to others names him.
            fresh: Whether it must be a copy loaded from now on.
            revoked: Called when the lease should be given back as soon as possible.

        Raises:
            TtswError: As from `load`.
        """
        request = Request(model_id, holder, fresh=fresh)
        return self._lease(request, await self._obtain(request), revoked)

    @asynccontextmanager
    async def lease(self, model_id: str, *, holder: str = "a caller", fresh: bool = False) -> AsyncGenerator[V, None]:
        """Hold a model for a block; see `acquire`."""
        with await self.acquire(model_id, holder=holder, fresh=fresh) as lease:
            yield lease.value

    async def unload(self, model_id: str, *, force: bool = False) -> None:
        """Unload a model, and return when its memory is back; one that isn't in memory is no fault.

        Args:
            model_id: The full id.
            force: Unload it even if it is in use: its holders are asked to let go, and it goes when they have.

        Raises:
            NotFoundError: There is no such model.
            FailedPreconditionError: It is in use, or being loaded for somebody; the text says for whom.
        """
        if self._residency.state(model_id) is ModelState.ABSENT:
            await self._check_known(model_id)
            return
        self._carry_out(self._residency.unload(model_id, force=force))
        await self._await_end(i for i in self._copies if i.model_id == model_id and i.state is not ModelState.READY)

    async def relieve(self, model_id: str) -> bool:
        """A model in use has found its device without memory: unload there what nobody uses; says if there was such."""
        instance = next((i for i in self._copies if i.model_id == model_id and i.holders), None)
        if instance is None:
            return False
        effects = self._residency.relieve(instance, trio.current_time())
        self._carry_out(effects)
        await self._await_end(effect.instance for effect in effects if isinstance(effect, StartUnload))
        return bool(effects)

    def get_adapter(self, model_id: str) -> V:
        """Take a lease on a model that is in memory, as `take` does where there is no time to wait; see `release`.

        Raises:
            FailedPreconditionError: It isn't in memory.
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
        """Give back what `get_adapter` took.

        Raises:
            FailedPreconditionError: There is nothing of this model to give back.
        """
        if not self._adapters.get(model_id):
            raise FailedPreconditionError(f"nobody has model {model_id!r} from get_adapter")
        self._adapters[model_id].pop().release()

    async def _obtain(self, request: Request) -> Instance:
        wish = self._wishes[request] = _Wish()
        try:
            self._carry_out(self._residency.ask(request, trio.current_time()))
            await wish.done.wait()
        except trio.Cancelled:
            self._revoked.discard(request)
            self._carry_out(self._residency.withdraw(request, trio.current_time()))
            raise
        finally:
            del self._wishes[request]
        if wish.instance is None:
            assert wish.error is not None, "a wish is granted or refused"
            raise wish.error
        return wish.instance

    def _lease(self, request: Request, instance: Instance, revoked: Callable[[], None] = lambda: None) -> Lease[V]:
        def give_back() -> None:
            del self._revocations[request]
            self._revoked.discard(request)
            self._carry_out(self._residency.release(request, trio.current_time()))

        def revoke() -> None:
            lease.revoked = True
            revoked()

        value = self._copies[instance].value
        assert value is not None, "what is granted is loaded"
        self._revocations[request] = revoke
        lease = Lease(value, give_back)
        if request in self._revoked:
            revoke()
        return lease

    async def _check_known(self, model_id: str) -> None:
        try:
            await self._source.weigh(model_id)
        except NotFoundError:
            raise
        except TtswError:  # it is there, though it couldn't be loaded
            return

    async def _await_end(self, instances: Iterable[Instance]) -> None:
        for copy in [self._copies[instance] for instance in instances]:
            await copy.gone.wait()

    # How it is done.

    def _carry_out(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Grant(request, instance):
                    self._answer(request, instance=instance)
                case Refuse(request, error):
                    self._answer(request, error=error)
                case Revoke(request) if request in self._revocations:
                    self._revocations[request]()
                case Revoke(request):  # its taker hasn't woken yet
                    self._revoked.add(request)
                case CancelLoad(instance):
                    self._copies[instance].load.cancel(reason="unloaded by request")
                case Weigh(demand):
                    self._start(self._weigh, demand, name=f"weighing of {demand.model_id}")
                case StartLoad(instance):
                    pack = self._packs[instance.model_id]
                    base = None if instance.base is None else self._copies[instance.base].value
                    self._copies[instance] = LoadedModel(pack, instance.place, self._source, self._traffic, base)
                    log.info("model loading", model_id=pack.model_id, device=instance.place.device)
                    self._start(self._load, instance, name=f"load of {instance.model_id}")
                case StartUnload(instance, cause):
                    self._start(self._unload, instance, cause, name=f"unload of {instance.model_id}")

    def _start(self, task: Callable[..., Awaitable[None]], *args: object, name: str) -> None:
        if self._nursery is not None:  # otherwise all is being unloaded already
            start = partial(self._nursery.start_soon, task, *args, name=name)
            self._context.run(start)  # the log of a load is not that of the session which happened to need it

    def _answer(self, request: Request, instance: Instance | None = None, error: TtswError | None = None) -> None:
        wish = self._wishes[request]
        wish.instance, wish.error = instance, error
        wish.done.set()

    async def _weigh(self, demand: Demand) -> None:
        try:
            pack, places = await self._source.weigh(demand.model_id)
            await self.look()
        except TtswError as error:
            self._carry_out(self._residency.refused(demand, error, trio.current_time()))
        except Exception as error:
            log.exception("a model can't be looked at", model_id=demand.model_id)
            fault = InternalError(f"looking at model {demand.model_id} failed: {type(error).__name__}: {error}")
            self._carry_out(self._residency.refused(demand, fault, trio.current_time()))
        else:
            self._packs[demand.model_id] = pack
            self._carry_out(self._residency.weighed(demand, places, trio.current_time(), pack.base))

    async def _load(self, instance: Instance) -> None:
        copy, error = self._copies[instance], None
        with copy.load:
            try:
                await copy.open(lambda: self._carry_out(self._residency.loaded(instance)))
            except TtswError as fault:
                error = fault
        seen = await self._see()
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
        error = await self._copies[instance].lost()
        if error is not None:
            log.warning("model lost", model_id=instance.model_id, error=str(error))
            self._carry_out(self._residency.lost(instance, error, trio.current_time()))

    async def _unload(self, instance: Instance, cause: UnloadCause) -> None:
        idle_s = trio.current_time() - max(instance.used_at, instance.loaded_at)
        back = await self._copies[instance].close(instance.size)
        self.unloads[cause] += 1
        if self._watcher is not None:
            self._watcher.model_unloaded(cause)
        log.info(
            "model unloaded", model_id=instance.model_id, cause=cause.value, idle_s=round(idle_s, 1), bytes_back=back
        )
        seen = await self._see()
        self._carry_out(self._residency.unloaded(instance, trio.current_time(), seen))
        self._forget(instance)

    async def _see(self) -> Sequence[MemorySnapshot]:
        """Look at the devices that answer. Of the others, what was last seen goes on to be shown."""
        fresh = await self._source.look()
        known = {memory.device: memory for memory in (*self.seen, *fresh)}
        self.seen = tuple(known.values())
        return fresh

    def _forget(self, instance: Instance) -> None:
        self._copies.pop(instance).gone.set()
