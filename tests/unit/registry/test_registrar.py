"""The registrar with a fake registry."""

from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
import structlog
import trio
from trio.testing import wait_all_tasks_blocked

from ttsw.config import RedisConfig
from ttsw.errors import AlreadyExistsError, ConfigError
from ttsw.registry.faults import RegistryError
from ttsw.registry.heartbeat import Condition, Holder
from ttsw.registry.record import MalformedRecordError, WorkerRecord
from ttsw.registry.registrar import Registrar

OTHER = Holder(WorkerRecord("alto", "grpc://b:1").stamped("other", 30, 100.0), 103.0)


class Registry:
    """A registry with one name; `trouble` makes its operations hang or fail."""

    timeout_s = 1.0

    def __init__(self):
        self.written, self.left, self.is_open = [], [], False
        self.holder = None
        self.trouble = self.trouble_leaving = None

    async def claim(self, record, instance, ttl_s, may_replace):
        await self._suffer(self.trouble)
        if self.holder is not None and not may_replace(self.holder):
            return self.holder
        self.written.append((trio.current_time(), record.stamped(instance, ttl_s, 0.0)))
        return None

    async def release(self, name, instance):
        await self._suffer(self.trouble_leaving)
        self.left.append((name, instance))

    @staticmethod
    async def _suffer(trouble):
        await trio.lowlevel.checkpoint()
        if trouble == "hangs":
            await trio.sleep_forever()
        elif trouble is not None:
            raise RegistryError(trouble, f"it is {trouble}")

    @asynccontextmanager
    async def connect(self):
        self.is_open = True
        try:
            yield self
        finally:
            self.is_open = False


class Worker:
    def __init__(self):
        self.state, self.trouble = "ready", None

    async def describe(self):
        await trio.lowlevel.checkpoint()
        if self.trouble == "hangs":
            await trio.sleep_forever()
        if self.trouble is not None:
            raise self.trouble
        return WorkerRecord("alto", "grpc://a:1", {"state": self.state})


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture
def worker():
    return Worker()


@pytest.fixture
def registrar(registry, worker):
    return Registrar(RedisConfig(), worker.describe, connect=registry.connect)


@pytest.fixture
def lines():
    with structlog.testing.capture_logs() as lines:
        yield lines


def test_without_a_url_there_is_nothing_to_run(worker):
    with pytest.raises(ConfigError, match=r"redis\.url"):
        Registrar(RedisConfig(), worker.describe)


async def test_it_beats_within_the_interval(registrar, registry, nursery, autojump_clock, lines):
    await nursery.start(registrar.run)
    await trio.sleep(100)
    times = [at for at, _ in registry.written]
    assert all(8 <= after - before <= 10 for before, after in pairwise(times))
    assert {record.instance for _, record in registry.written} == {registry.written[0][1].instance}
    assert [line["event"] for line in lines] == ["registered"]


async def test_changes_are_written_immediately_in_one_write(registrar, registry, worker, nursery, autojump_clock):
    await nursery.start(registrar.run)
    await trio.sleep(5)
    for worker.state in ("draining", "drained"):
        registrar.notify()
    await trio.sleep(0.5)
    assert [record.state for _, record in registry.written] == ["ready", "drained"]


async def test_a_failure_is_logged_once_and_retried(registrar, registry, nursery, autojump_clock, lines):
    await nursery.start(registrar.run)
    registry.trouble = Condition.UNREACHABLE
    await trio.sleep(60)
    assert registrar.condition is Condition.UNREACHABLE
    registry.trouble, back = None, trio.current_time()
    await trio.sleep(2)
    assert registry.written[-1][0] - back <= 2
    assert [line["event"] for line in lines] == ["registered", "not registered", "registered"]


async def test_a_registry_that_hangs_is_given_up_on(registrar, registry, nursery, autojump_clock):
    registry.trouble = "hangs"
    with trio.fail_after(6):
        await nursery.start(registrar.run)
    assert registrar.condition is Condition.SLOW


@pytest.mark.parametrize("trouble", ["hangs", RuntimeError("no heartbeat"), MalformedRecordError("too large")])
async def test_a_worker_that_fails_to_create_its_record(registrar, worker, autojump_clock, lines, trouble):
    async with trio.open_nursery() as nursery:
        await nursery.start(registrar.run)
        worker.trouble = trouble
        await trio.sleep(60)
        assert registrar.condition is Condition.UNDESCRIBED
        worker.trouble = None
        await trio.sleep(15)
        assert registrar.condition is Condition.REGISTERED
        nursery.cancel_scope.cancel()
    assert [line["event"] for line in lines] == ["registered", "not registered", "registered"]


async def test_an_invalid_record_at_startup_is_an_error(registrar, worker, nursery):
    worker.trouble = MalformedRecordError("too large")
    with pytest.raises(MalformedRecordError):
        await nursery.start(registrar.run)


async def test_a_name_that_is_held_ends_the_start(registrar, registry, nursery):
    registry.holder = OTHER
    with pytest.raises(AlreadyExistsError, match=r"held by another worker, at grpc://b:1.* 3 s ago; .*--takeover"):
        await nursery.start(registrar.run)
    assert not registry.is_open


async def test_it_is_taken_over_once(registry, worker, nursery, autojump_clock):
    registrar = Registrar(RedisConfig(), worker.describe, connect=registry.connect, takeover=True)
    registry.holder = OTHER
    await nursery.start(registrar.run)
    await trio.sleep(15)
    assert registrar.condition is Condition.HELD, "the fake keeps its holder: a takeover happens only once"
    assert len(registry.written) == 1


async def test_run_again_after_a_crash_a_held_name_is_no_reason_to_end(registrar, registry, autojump_clock):
    with trio.move_on_after(1):
        await registrar.run()
    registry.holder = OTHER
    with trio.move_on_after(1) as scope:
        await registrar.run()
    assert scope.cancelled_caught
    assert registrar.condition is Condition.HELD


@pytest.mark.parametrize("where", ["describing", "claiming", "resting", "leaving"])
async def test_cancelled_at_each_place_it_waits(registrar, registry, worker, where, autojump_clock):
    async with trio.open_nursery() as nursery:
        await nursery.start(registrar.run)
        if where == "describing":
            worker.trouble = "hangs"
        elif where == "claiming":
            registry.trouble = "hangs"
        elif where == "leaving":
            registry.trouble_leaving = "hangs"
        registrar.notify()
        await trio.sleep(1)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        cancelled_at = trio.current_time()
    assert not registry.is_open
    assert bool(registry.left) is (where != "leaving")
    assert trio.current_time() - cancelled_at <= registry.timeout_s


async def test_cancelled_before_it_was_ever_written(registrar, registry, worker, autojump_clock):
    worker.trouble = "hangs"
    with trio.move_on_after(1):
        await registrar.run()
    assert not registry.left
    assert not registry.is_open


@pytest.mark.parametrize(
    ("trouble", "error"), [("hangs", "registry timed out"), (Condition.READ_ONLY, "it is read-only")]
)
async def test_a_failed_removal_is_logged(registrar, registry, autojump_clock, trouble, error):
    registry.trouble_leaving = trouble
    with structlog.testing.capture_logs() as lines, trio.move_on_after(1):
        await registrar.run()
    assert lines[-1] == {
        "event": "failed to remove the registry record; it remains until it expires",
        "error": error,
        "log_level": "warning",
    }
