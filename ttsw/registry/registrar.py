"""Registrar: keep a worker registered while it runs, as `ttsw.registry.heartbeat` decides.

An unreachable, slow or refusing registry doesn't affect the worker's service: Redis calls run in a thread, and failures
are logged once and retried. Only a name held by another worker at startup is an error.
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
from ttsw.registry.heartbeat import Condition, Heartbeat, HeartbeatTiming, Holder, LogLine, describe_holder, may_replace
from ttsw.registry.opening import open_connection
from ttsw.registry.record import WorkerRecord

log = structlog.get_logger(__name__)

_CALLS = 5
"""Sequential Redis calls per write."""

_NOT_REMOVED = "failed to remove the registry record; it remains until it expires"


class Registry(Protocol):
    """Registry operations of a registrar; see `ttsw.registry.connection.RegistryConnection`."""

    timeout_s: float

    async def claim(
        self, record: WorkerRecord, instance: str, ttl_s: float, may_replace: Callable[[Holder], bool]
    ) -> Holder | None:
        """Write a record, or return the holder that keeps the name."""
        ...

    async def release(self, name: str, instance: str) -> None:
        """Remove the instance's own record."""
        ...


class Registrar:
    """Owner of the worker's record in the registry.

    Args:
        settings: URL of the registry and heartbeat interval.
        describe: Returns the worker's current record. The registrar adds instance and time.
        takeover: Whether to take the name from another worker at startup.
        timing: Intervals between writes; None for those of `settings`.
        connect: Opens the registry; None for that of `settings`.
    """

    def __init__(
        self,
        settings: RedisConfig,
        describe: Callable[[], Awaitable[WorkerRecord]],
        *,
        takeover: bool = False,
        timing: HeartbeatTiming | None = None,
        connect: Callable[[], AbstractAsyncContextManager[Registry]] | None = None,
    ) -> None:
        if connect is None and settings.url is None:
            raise ConfigError("redis.url is missing; registration needs the URL of a registry")
        self._connect = connect or partial(open_connection, settings.url or "")
        self._describe, self._takeover = describe, takeover
        self._ttl_s = float(settings.registration_ttl_seconds)
        self._timing = timing or HeartbeatTiming(settings.heartbeat_interval_seconds)
        self._heartbeat = Heartbeat(self._timing, random.random)
        self._instance = secrets.token_hex(8)
        self._new = True
        self._name = ""
        self._wakeup = trio.Event()

    def __repr__(self) -> str:
        return f"<Registrar {self._name} {self._instance} {self._heartbeat!r}>"

    @property
    def condition(self) -> Condition | None:
        """State of the registration; None before the first write."""
        return self._heartbeat.condition

    def notify(self) -> None:
        """Schedule a write after a change of the record. Cheap; to be called in the event loop."""
        self._heartbeat.changed()
        self._wakeup.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the record up to date until cancelled, then remove it. `started` follows the first attempt to write.

        Raises:
            AlreadyExistsError: Another worker holds the name at startup.
            ConfigError: The registry's URL is invalid.
            InvalidArgumentError: The worker's record is invalid.
        """
        async with self._connect() as registry:
            try:
                first = self.condition is None
                holder = await self._write(registry)
                if first and holder is not None:
                    raise AlreadyExistsError(
                        f"{describe_holder(holder)}; give this worker another name (worker.name), or, if the other "
                        f"worker has been stopped, wait {self._ttl_s:g} s, or start with --takeover"
                    )
                task_status.started()
                while True:
                    await self._wait_until_due()
                    await self._write(registry)
            finally:
                with trio.move_on_after(registry.timeout_s, shield=True) as scope:
                    await self._remove(registry)
                if scope.cancelled_caught:
                    log.warning(_NOT_REMOVED, error="registry timed out")

    async def _wait_until_due(self) -> None:
        while self._heartbeat.due > trio.current_time():
            with trio.move_on_at(self._heartbeat.due):
                await self._wakeup.wait()
                self._wakeup = trio.Event()

    async def _write(self, registry: Registry) -> Holder | None:
        """Write the record; return the holder of the name if it is another worker."""
        self._heartbeat.write_started(trio.current_time())
        holder = None
        try:
            record = await self._create_record()
            self._name = record.name
            holder = await self._claim(registry, record)
        except RegistryError as error:
            line = self._heartbeat.failed(error.condition, str(error), trio.current_time())
        except Exception as error:
            if self.condition is None and isinstance(error, TtswError):
                raise
            text = f"failed to create the worker's record: {type(error).__name__}: {error}"
            line = self._heartbeat.failed(Condition.UNDESCRIBED, text, trio.current_time())
        else:
            line = self._handle_result(holder)
        if line is not None:
            getattr(log, line.level)(line.event, **line.fields)
        return holder

    async def _create_record(self) -> WorkerRecord:
        with trio.fail_after(self._timing.interval_s):
            return await self._describe()

    async def _claim(self, registry: Registry, record: WorkerRecord) -> Holder | None:
        try:
            with trio.fail_after(_CALLS * registry.timeout_s):
                return await registry.claim(record, self._instance, self._ttl_s, partial(self._may_replace, record))
        except trio.TooSlowError as error:  # the socket's timeouts don't cover the DNS lookup
            raise RegistryError(Condition.SLOW, "the registry is slow to respond: a write timed out") from error

    def _handle_result(self, holder: Holder | None) -> LogLine | None:
        now = trio.current_time()
        if holder is not None:
            return self._heartbeat.name_held(holder, now)
        self._new = False
        return self._heartbeat.written(now)

    def _may_replace(self, own: WorkerRecord, holder: Holder) -> bool:
        return may_replace(holder, own, self._instance, new=self._new, takeover=self._takeover)

    async def _remove(self, registry: Registry) -> None:
        """Remove the record, even if the reply to its write was lost."""
        if not self._name:
            return
        try:
            await registry.release(self._name, self._instance)
        except RegistryError as error:
            log.warning(_NOT_REMOVED, error=str(error))
