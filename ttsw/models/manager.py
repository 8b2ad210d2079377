"""The models in memory: loads them, lends them to sessions, unloads them.

Loads run in the manager's own nursery, so that a client who leaves doesn't end a load that others wait for; those who
want a model that is being loaded join its load. Up to `resident_cap` models are kept: room is made before a load, by
unloading the one unused for longest. What nobody has used for its `Lifetime` goes too. What is lent out stays.
"""

import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import structlog
import trio

from ttsw.errors import FailedPreconditionError, InternalError, ResourceExhaustedError, TtswError, UnavailableError
from ttsw.models.packs import Shelf
from ttsw.types import VoicePack

log = structlog.get_logger(__name__)


class Loaded(Protocol):
    """What the manager needs of a loaded model: that it can be unloaded."""

    async def close(self) -> None:
        """Give everything back; shielded from cancellation, with a deadline of its own."""
        ...


V = TypeVar("V", bound=Loaded)


@dataclass(frozen=True)
class Lifetime:
    """When a model that nobody uses is unloaded.

    Args:
        ttl_s: Unused for this long, s.
        min_residency_s: And in memory for this long, s.
        check_s: How often that is looked at, s.
        kept: Models that stay whatever happens, unless room is needed or somebody asks.
    """

    ttl_s: float = math.inf
    min_residency_s: float = 0.0
    check_s: float = math.inf
    kept: frozenset[str] = frozenset()

    def is_over(self, resident: "Resident[Any]", now: float) -> bool:
        """Whether a model has had its time."""
        return (
            not resident.leases
            and resident.pack.model_id not in self.kept
            and now - resident.used_at >= self.ttl_s
            and now - resident.loaded_at >= self.min_residency_s
        )


@dataclass(eq=False)
class Resident(Generic[V]):
    """A model in memory.

    Args:
        pack: What it was loaded from.
        value: The loaded model.
        load_s: How long that took, s.
        loaded_at: When it was loaded, on trio's clock.
        used_at: When it was last taken or given back, on trio's clock.
        leases: How many use it.
        retired: Whether it is replaced by a fresh load, and goes with its last lease.
        closed: Whether it is unloaded, or about to be.
    """

    pack: VoicePack
    value: V
    load_s: float
    loaded_at: float
    used_at: float
    leases: int = 0
    retired: bool = False
    closed: bool = False


@dataclass(eq=False)
class _Load(Generic[V]):
    done: trio.Event = field(default_factory=trio.Event)
    result: Resident[V] | None = None
    error: TtswError | None = field(default_factory=lambda: UnavailableError("the worker is stopping"))


class ModelManager(Generic[V]):
    """Owner of every loaded model.

    Args:
        shelf: The voice packs there are.
        open_model: Loads one; may take its time.
        resident_cap: Most models in memory.
        max_parallel_loads: Most loads at once.
        lifetime: When an unused model goes.
    """

    def __init__(
        self,
        shelf: Shelf,
        open_model: Callable[[VoicePack], Awaitable[V]],
        *,
        resident_cap: int = 3,
        max_parallel_loads: int = 1,
        lifetime: Lifetime | None = None,
    ) -> None:
        self.shelf = shelf
        self._open = open_model
        self._cap = resident_cap
        self._lifetime = lifetime or Lifetime()
        self._places = trio.CapacityLimiter(max_parallel_loads)
        self._residents: dict[str, Resident[V]] = {}
        self._retired: set[Resident[V]] = set()
        self._loads: dict[str, _Load[V]] = {}
        self._nursery: trio.Nursery | None = None

    def __repr__(self) -> str:
        return f"<ModelManager: resident {list(self._residents)}, loading {list(self._loads)}>"

    @property
    def residents(self) -> dict[str, Resident[V]]:
        """Models in memory by id; a copy."""
        return dict(self._residents)

    @property
    def loading(self) -> frozenset[str]:
        """Models that are being loaded."""
        return frozenset(self._loads)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the models until cancelled; then unload them all."""
        try:
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                while True:
                    await trio.sleep(self._lifetime.check_s)
                    await self._evict(trio.current_time())
        finally:
            for resident in [*self._residents.values(), *self._retired]:
                await self._close(resident)  # noqa: ASYNC102 - what it closes shields itself
            self._residents.clear()

    async def load(self, model_id: str, *, fresh: bool = False) -> Resident[V]:
        """Have a model in memory; joins a load in flight.

        Args:
            model_id: The full id.
            fresh: Load it anew even if it is there; those who use the old one keep it until they are done.

        Raises:
            NotFoundError: There is no such model.
            ResourceExhaustedError: There is no room, and nothing that may go.
            TtswError: The load failed; the text says why.
        """
        resident = self._residents.get(model_id)
        if resident is not None and not fresh:
            resident.used_at = trio.current_time()
            return resident
        load = self._loads.get(model_id)
        if load is None:
            pack = self.shelf[model_id]
            load = self._loads[model_id] = _Load()
            assert self._nursery is not None, "the manager is not running"
            self._nursery.start_soon(self._load, pack, load, name=f"load of {model_id}")
        await load.done.wait()
        if load.result is None:
            assert load.error is not None, "a load ends with a result or an error"
            raise load.error
        return load.result

    @asynccontextmanager
    async def lease(self, model_id: str, *, fresh: bool = False) -> AsyncGenerator[V, None]:
        """Hold a model, loading it first where needed; it stays in memory until the context ends.

        Raises:
            TtswError: As from `load`.
        """
        resident = await self.load(model_id, fresh=fresh)
        while resident.closed:  # unloaded between the load's end and our waking
            resident = await self.load(model_id)
        resident.leases += 1
        try:
            yield resident.value
        finally:
            resident.leases -= 1
            resident.used_at = trio.current_time()
            if resident.retired and not resident.leases:
                await self._close(resident)  # noqa: ASYNC102 - as above

    async def unload(self, model_id: str) -> None:
        """Unload a model that nobody uses.

        Raises:
            NotFoundError: There is no such model.
            FailedPreconditionError: It is in use, or being loaded.
        """
        self.shelf[model_id]
        if model_id in self._loads:
            raise FailedPreconditionError(f"model {model_id!r} is being loaded; unload it when that is done")
        resident = self._residents.get(model_id)
        if resident is None:
            return
        if resident.leases:
            users = f"{resident.leases} session{'s' * (resident.leases > 1)}"
            raise FailedPreconditionError(f"model {model_id!r} is in use by {users}; end them first")
        del self._residents[model_id]
        await self._close(resident)

    async def _load(self, pack: VoicePack, load: _Load[V]) -> None:
        try:
            async with self._places:
                await self._make_room(pack.model_id)
                started = trio.current_time()
                value = await self._open(pack)
                now = trio.current_time()
                load.result, load.error = Resident(pack, value, now - started, now, now), None
        except TtswError as error:
            load.error = error
        except Exception as error:
            log.exception("load failed", model_id=pack.model_id)
            load.error = InternalError(f"loading {pack.model_id} failed: {type(error).__name__}: {error}")
            load.error.__cause__ = error
        else:
            log.info("model loaded", model_id=pack.model_id, load_s=round(load.result.load_s, 3))
            await self._install(load.result)
        finally:
            del self._loads[pack.model_id]
            load.done.set()

    async def _install(self, resident: Resident[V]) -> None:
        old = self._residents.get(resident.pack.model_id)
        self._residents[resident.pack.model_id] = resident
        if old is None:
            return
        if old.leases:
            old.retired = True
            self._retired.add(old)
        else:
            await self._close(old)

    async def _evict(self, now: float) -> None:
        for model_id, resident in self.residents.items():
            if self._lifetime.is_over(resident, now) and self._residents.get(model_id) is resident:
                log.info("model evicted", model_id=model_id, idle_s=round(now - resident.used_at, 1))
                del self._residents[model_id]
                await self._close(resident)

    async def _make_room(self, model_id: str) -> None:
        others = [resident for key, resident in self._residents.items() if key != model_id]
        if len(others) < self._cap:
            return
        idle = [resident for resident in others if not resident.leases]
        if not idle:
            held = ", ".join(f"{r.pack.model_id} ({r.leases})" for r in others)
            raise ResourceExhaustedError(
                f"no room for model {model_id!r}: model_manager.resident_cap is {self._cap} and all are in use, "
                f"by sessions: {held}"
            )
        oldest = min(idle, key=lambda resident: resident.used_at)
        del self._residents[oldest.pack.model_id]
        await self._close(oldest)

    async def _close(self, resident: Resident[V]) -> None:
        self._retired.discard(resident)
        resident.closed = True
        try:
            await resident.value.close()
        except Exception:
            log.exception("unload failed", model_id=resident.pack.model_id)
        else:
            log.info("model unloaded", model_id=resident.pack.model_id)
