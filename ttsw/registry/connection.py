"""What is asked of Redis, each in a thread: to claim a name, to give it back, to read all records.

Decides how it is asked: atomically (WATCH, so that Redis 6.2 suffices and no script must be permitted), with SCAN and
never KEYS, and within the socket's timeout. Who may have a name is the caller's to say. All times are Redis's own, so
that machines whose clocks differ agree on a record's age. A call that is cancelled is left to its thread; the next one
waits until that thread is done, so that two never mix.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import trio
from redis.exceptions import RedisError, WatchError

from ttsw.registry.client import explain, make_client
from ttsw.registry.faults import RegistryError, redact
from ttsw.registry.heartbeat import Condition, Held
from ttsw.registry.record import MOST_BYTES, PREFIX, MalformedRecordError, WorkerRecord, parse_record

_RACES = 5
"""How often a claim is tried anew because somebody wrote under the key meanwhile."""

_BATCH = 500
"""Keys looked at in one round."""

T = TypeVar("T")


class RegistryConnection:
    """A registry; from `open_connection`.

    Args:
        url: Where it is.
        timeout_s: How long a call may wait for an answer, s.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        self.where, self.timeout_s = redact(url), timeout_s
        self._client = make_client(url, timeout_s)
        self._limiter = trio.CapacityLimiter(1)

    def __repr__(self) -> str:
        return f"<Connection {self.where}>"

    async def claim(
        self, record: WorkerRecord, instance: str, ttl_s: float, may_replace: Callable[[Held], bool]
    ) -> Held | None:
        """Write a record under its name, to last `ttl_s`, unless somebody has the name and may keep it; returns him.

        Raises:
            RegistryError: Redis can't be asked, or refuses.
        """
        return await self._run(partial(self._claim, record, instance, ttl_s, may_replace))

    async def give_back(self, name: str, instance: str) -> None:
        """Remove the record of a name if it is this instance's.

        Raises:
            RegistryError: Redis can't be asked, or refuses.
        """
        await self._run(partial(self._give_back, name, instance))

    async def read_all(self) -> tuple[float, dict[str, bytes | str]]:
        """Read what is under the keys of all workers.

        Returns:
            Redis's time, and by key the value, or a text that says why it can't be read.

        Raises:
            RegistryError: Redis can't be asked, or refuses.
        """
        return await self._run(self._read_all)

    def close(self) -> None:
        """Close the sockets; one that a thread still waits on closes with its timeout."""
        if not self._limiter.borrowed_tokens:
            self._client.connection_pool.disconnect()
            manager: Any = getattr(self._client.connection_pool, "sentinel_manager", None)
            for sentinel in manager.sentinels if manager else ():
                sentinel.close()

    async def _run(self, ask: Callable[[], T]) -> T:
        def asking() -> T:
            try:
                return ask()
            except (RedisError, OSError) as error:
                raise explain(error, self.where) from error

        return await trio.to_thread.run_sync(asking, limiter=self._limiter, abandon_on_cancel=True)

    def _claim(
        self, record: WorkerRecord, instance: str, ttl_s: float, may_replace: Callable[[Held], bool]
    ) -> Held | None:
        for _ in range(_RACES):
            with self._watching(record.key) as (pipe, now, value):
                if value:
                    held = _held(record.key, value, now)
                    if not may_replace(held):
                        return held
                pipe.multi()
                pipe.set(record.key, record.stamped(instance, ttl_s, now).to_json(), px=round(ttl_s * 1000))
                if _executed(pipe):
                    return None
        raise RegistryError(Condition.REFUSED, f"the registry {self.where}: others keep writing to {record.key}")

    def _give_back(self, name: str, instance: str) -> None:
        key = PREFIX + name
        with self._watching(key) as (pipe, now, value):
            held = _held(key, value, now)
            if held.record is not None and held.record.instance == instance:
                pipe.multi()
                pipe.delete(key)
                _executed(pipe)  # if not, somebody has taken the name just now, and keeps it

    @contextmanager
    def _watching(self, key: str) -> Iterator[tuple[Any, float, bytes]]:
        """Watch a key for a block; gives what asks Redis, Redis's time and the key's value, empty for none."""
        pipe: Any = self._client.pipeline()
        with pipe:
            pipe.watch(key)
            now = _seconds(pipe.time())
            yield pipe, now, pipe.getrange(key, 0, MOST_BYTES)

    def _read_all(self) -> tuple[float, dict[str, bytes | str]]:
        now = _seconds(self._client.time())
        found: dict[str, bytes | str] = {}
        everything = sorted(set(self._client.scan_iter(match=f"{PREFIX}*", count=_BATCH)))
        for start in range(0, len(everything), _BATCH):
            keys = everything[start : start + _BATCH]
            with self._client.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.getrange(key, 0, MOST_BYTES)  # MGET would read a huge value whole, and not see a list
                values = pipe.execute(raise_on_error=False)
            for key, value in zip(keys, values, strict=True):
                name = key.decode(errors="backslashreplace")
                if isinstance(value, Exception):
                    if "WRONGTYPE" not in str(value):
                        raise value
                    found[name] = "no text, but another type of Redis's"
                elif value:  # if not, it has expired since
                    found[name] = value
        return now, found


def _held(key: str, value: bytes, now: float) -> Held:
    try:
        return Held(parse_record(key, value), now)
    except MalformedRecordError as fault:
        return Held(None, now, str(fault))


def _executed(pipe: Any) -> bool:  # noqa: ANN401 - redis-py's pipeline has no type that knows MULTI
    """Carry out what is queued; False where the key has changed since it was watched."""
    try:
        pipe.execute()
    except WatchError as error:
        if error.__context__ is not None:  # the connection broke
            raise
        return False
    return True


def _seconds(time: Any) -> float:  # noqa: ANN401 - redis-py's type has its asyncio client's too
    seconds, microseconds = time
    return float(seconds + microseconds / 1e6)
