"""Keeps a worker in the registry for as long as it runs. Carries out what `ttsw.registry.heartbeat` decides.

A registry that is away, slow or unwilling costs the worker nothing but its place there: all that is asked of Redis
runs in a thread, and what fails is logged once and tried again. Only at the start is there a reason to give up: when
another worker has the name.
"""

import random
import secrets
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Protocol

import structlog
import trio

from ttsw.config import RedisConfig
from ttsw.errors import AlreadyExistsError, ConfigError, TtswError
from ttsw.registry.faults import RegistryError
from ttsw.registry.heartbeat import Condition, Heartbeat, Held, Note, Tempo, describe_holder, may_replace
from ttsw.registry.opening import open_connection
from ttsw.registry.record import WorkerRecord

log = structlog.get_logger(__name__)

_CALLS = 5
"""What one write asks of Redis, one after the other."""

_STAYS = "not removed from the registry; the record stays there until it expires"


class Registry(Protocol):
    """What a registrar asks of its registry; see `ttsw.registry.connection.RegistryConnection`."""

    timeout_s: float

    async def claim(
        self, record: WorkerRecord, instance: str, ttl_s: float, may_replace: Callable[[Held], bool]
    ) -> Held | None:
        """Write a record, unless another may keep the name."""
        ...

    async def give_back(self, name: str, instance: str) -> None:
        """Remove one's own record."""
        ...


class Registrar:
    """Owner of the worker's record.

    Args:
        settings: The registry, and how often to write there.
        describe: Gives the worker's record as it is now. Which process writes it, and when, is added here.
        takeover: Whether to take the name from another worker that has it.
        tempo: How often to write; as `settings` says if None.
        connect: Opens the registry; as `settings` says if None.
    """

    def __init__(
        self,
        settings: RedisConfig,
        describe: Callable[[], Awaitable[WorkerRecord]],
        *,
        takeover: bool = False,
        tempo: Tempo | None = None,
        connect: Callable[[], AbstractAsyncContextManager[Registry]] | None = None,
    ) -> None:
        if connect is None and settings.url is None:
            raise ConfigError("redis.url: there is no registry without one")
        self._connect = connect or partial(open_connection, settings.url or "")
        self._describe, self._takeover = describe, takeover
        self._ttl_s = float(settings.registration_ttl_seconds)
        self._tempo = tempo or Tempo(settings.heartbeat_interval_seconds)
        self._pulse = Heartbeat(self._tempo, random.random)
        self._instance = secrets.token_hex(8)
        self._new = True
        self._name = ""
        self._woken = trio.Event()

    def __repr__(self) -> str:
        return f"<Registrar {self._name} {self._instance} {self._pulse!r}>"

    @property
    def condition(self) -> Condition | None:
        """How the worker stands with its registry; None before it was asked."""
        return self._pulse.condition

    def notify(self) -> None:
        """Something in the record has changed: have it written soon. Costs nothing, and may be called from the loop."""
        self._pulse.changed()
        self._woken.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the record until cancelled; then remove it. Has `started` once it was written, or could not be.

        Raises:
            AlreadyExistsError: Another worker has the name, right at the start.
            ConfigError: The registry's URL can't be used.
            InvalidArgumentError: The worker's record is none.
        """
        async with self._connect() as registry:
            try:
                first = self.condition is None
                held = await self._beat(registry)
                if first and held is not None:
                    raise AlreadyExistsError(
                        f"{describe_holder(held)}; give this worker another name (worker.name), or, if that one is no "
                        f"longer wanted, wait {self._ttl_s:g} s from its end, or start with --takeover"
                    )
                task_status.started()
                while True:
                    await self._rest()
                    await self._beat(registry)
            finally:
                with trio.move_on_after(registry.timeout_s, shield=True) as scope:
                    await self._leave(registry)
                if scope.cancelled_caught:
                    log.warning(_STAYS, error="no answer in time")

    async def _rest(self) -> None:
        while self._pulse.due > trio.current_time():
            with trio.move_on_at(self._pulse.due):
                await self._woken.wait()
                self._woken = trio.Event()

    async def _beat(self, registry: Registry) -> Held | None:
        """Write the record; returns who has the name, if that is another."""
        self._pulse.began(trio.current_time())
        held = None
        try:
            record = await self._described()
            self._name = record.name
            held = await self._claim(registry, record)
        except RegistryError as error:
            note = self._pulse.failed(error.condition, str(error), trio.current_time())
        except Exception as error:
            if self.condition is None and isinstance(error, TtswError):
                raise
            text = f"the worker could not say how it is: {type(error).__name__}: {error}"
            note = self._pulse.failed(Condition.UNDESCRIBED, text, trio.current_time())
        else:
            note = self._outcome(held)
        if note is not None:
            getattr(log, note.level)(note.event, **note.fields)
        return held

    async def _described(self) -> WorkerRecord:
        with trio.fail_after(self._tempo.interval_s):
            return await self._describe()

    async def _claim(self, registry: Registry, record: WorkerRecord) -> Held | None:
        try:
            with trio.fail_after(_CALLS * registry.timeout_s):
                return await registry.claim(record, self._instance, self._ttl_s, partial(self._may_replace, record))
        except trio.TooSlowError as error:  # the socket's timeouts leave out the look-up of the host's name
            raise RegistryError(Condition.SLOW, "the registry is slow to answer: nothing came of a write") from error

    def _outcome(self, held: Held | None) -> Note | None:
        now = trio.current_time()
        if held is not None:
            return self._pulse.held(held, now)
        self._new = False
        return self._pulse.written(now)

    def _may_replace(self, own: WorkerRecord, held: Held) -> bool:
        return may_replace(held, own, self._instance, new=self._new, takeover=self._takeover)

    async def _leave(self, registry: Registry) -> None:
        """Remove the record; one that a lost answer leaves in doubt may be there too."""
        if not self._name:
            return
        try:
            await registry.give_back(self._name, self._instance)
        except RegistryError as error:
            log.warning(_STAYS, error=str(error))
