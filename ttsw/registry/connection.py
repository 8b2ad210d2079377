"""Redis operations of the registry, each in a thread: claim a name, release it, read all records.

Writes are atomic through WATCH, which works from Redis 6.2 and needs no permission for scripts. Keys are listed with
SCAN, never KEYS. The caller decides whether a name may be taken. All times are Redis's own, so machines with different
clocks agree on a record's age. A cancelled call finishes in its thread, and the next call waits for it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import trio
from redis.exceptions import RedisError, WatchError

from ttsw.registry.client import make_client, to_registry_error
from ttsw.registry.faults import RegistryError, redact
from ttsw.registry.heartbeat import Condition, Holder
from ttsw.registry.record import MAX_BYTES, PREFIX, MalformedRecordError, WorkerRecord, parse_record

_MAX_ATTEMPTS = 5
"""Attempts of a claim whose key is written concurrently."""

_BATCH = 500
"""Keys read per pipeline."""

T = TypeVar("T")


class RegistryConnection:
    """Access to a registry; see `open_connection`.

    Args:
        url: URL of the registry.
        timeout_s: Timeout of connecting, and of each reply, seconds.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        self.display_url, self.timeout_s = redact(url), timeout_s
        self._client = make_client(url, timeout_s)
        self._limiter = trio.CapacityLimiter(1)

    def __repr__(self) -> str:
        return f"<RegistryConnection {self.display_url}>"

    async def claim(
        self, record: WorkerRecord, instance: str, ttl_s: float, may_replace: Callable[[Holder], bool]
    ) -> Holder | None:
        """Write a record that expires after `ttl_s`, unless another worker keeps the name.

        Returns:
            The holder of the name, if `may_replace` returned false for it.

        Raises:
            RegistryError: Redis is unreachable or refuses the operation.
        """
        return await self._run(partial(self._claim, record, instance, ttl_s, may_replace))

    async def release(self, name: str, instance: str) -> None:
        """Remove the record of a name if it belongs to this instance.

        Raises:
            RegistryError: Redis is unreachable or refuses the operation.
        """
        await self._run(partial(self._release, name, instance))

    async def read_all(self) -> tuple[float, dict[str, bytes | str]]:
        """Read the values of all workers' keys.

        Returns:
            Redis's time, and by key the value, or the reason as a string if it can't be read.

        Raises:
            RegistryError: Redis is unreachable or refuses the operation.
        """
        return await self._run(self._read_all)

    def close(self) -> None:
        """Close the sockets. A socket in use by a thread closes after its timeout."""
        if not self._limiter.borrowed_tokens:
            self._client.connection_pool.disconnect()
            manager: Any = getattr(self._client.connection_pool, "sentinel_manager", None)
            for sentinel in manager.sentinels if manager else ():
                sentinel.close()

    async def _run(self, operation: Callable[[], T]) -> T:
        def run() -> T:
            try:
                return operation()
            except (RedisError, OSError) as error:
                raise to_registry_error(error, self.display_url) from error

        return await trio.to_thread.run_sync(run, limiter=self._limiter, abandon_on_cancel=True)

    def _claim(
        self, record: WorkerRecord, instance: str, ttl_s: float, may_replace: Callable[[Holder], bool]
    ) -> Holder | None:
        for _ in range(_MAX_ATTEMPTS):
            with self._watch(record.key) as (pipe, now, value):
                if value:
                    holder = _parse_holder(record.key, value, now)
                    if not may_replace(holder):
                        return holder
                pipe.multi()
                pipe.set(record.key, record.stamped(instance, ttl_s, now).to_json(), px=round(ttl_s * 1000))
                if _execute(pipe):
                    return None
        raise RegistryError(
            Condition.REFUSED, f"the registry {self.display_url}: other clients keep writing to {record.key}"
        )

    def _release(self, name: str, instance: str) -> None:
        key = PREFIX + name
        with self._watch(key) as (pipe, now, value):
            holder = _parse_holder(key, value, now)
            if holder.record is not None and holder.record.instance == instance:
                pipe.multi()
                pipe.delete(key)
                _execute(pipe)  # False if another worker has just taken the name, and keeps it

    @contextmanager
    def _watch(self, key: str) -> Iterator[tuple[Any, float, bytes]]:
        """Watch a key for the block; yield the pipeline, Redis's time and the value, empty if missing."""
        pipe: Any = self._client.pipeline()
        with pipe:
            pipe.watch(key)
            now = _seconds(pipe.time())
            yield pipe, now, pipe.getrange(key, 0, MAX_BYTES)

    def _read_all(self) -> tuple[float, dict[str, bytes | str]]:
        now = _seconds(self._client.time())
        found: dict[str, bytes | str] = {}
        all_keys = sorted(set(self._client.scan_iter(match=f"{PREFIX}*", count=_BATCH)))
        for start in range(0, len(all_keys), _BATCH):
            keys = all_keys[start : start + _BATCH]
            with self._client.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.getrange(key, 0, MAX_BYTES)  # MGET would read huge values whole, and skip other types
                values = pipe.execute(raise_on_error=False)
            for key, value in zip(keys, values, strict=True):
                name = key.decode(errors="backslashreplace")
                if isinstance(value, Exception):
                    if "WRONGTYPE" not in str(value):
                        raise value
                    found[name] = "not a string, but another type of Redis value"
                elif value:  # empty if the key has expired meanwhile
                    found[name] = value
        return now, found


def _parse_holder(key: str, value: bytes, now: float) -> Holder:
    try:
        return Holder(parse_record(key, value), now)
    except MalformedRecordError as fault:
        return Holder(None, now, str(fault))


def _execute(pipe: Any) -> bool:  # noqa: ANN401 - redis-py's pipeline type lacks MULTI
    """Execute the queued commands; return False if the watched key has changed."""
    try:
        pipe.execute()
    except WatchError as error:
        if error.__context__ is not None:  # the connection was lost
            raise
        return False
    return True


def _seconds(time: Any) -> float:  # noqa: ANN401 - redis-py's annotation includes its asyncio client's type
    seconds, microseconds = time
    return float(seconds + microseconds / 1e6)
