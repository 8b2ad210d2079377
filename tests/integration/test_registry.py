"""A registrar and discovery against a real redis-server, in good days and bad."""

import ssl
from contextlib import asynccontextmanager

import pytest
import structlog
import trio
import trustme

from tests.integration.redis_server import RedisServer, free_port, tls_front
from ttsw.config import RedisConfig
from ttsw.errors import AlreadyExistsError
from ttsw.registry.discovery import Wanted, find_workers, pick
from ttsw.registry.faults import RegistryError
from ttsw.registry.heartbeat import Condition, HeartbeatTiming
from ttsw.registry.opening import open_connection
from ttsw.registry.record import WorkerRecord
from ttsw.registry.registrar import Registrar

QUICK = HeartbeatTiming(0.2, gap_s=0.02, backoff_s=0.05, max_backoff_s=0.2)
SOON_S = 10.0


class Server:
    """Stands for the worker: tells of itself, and runs its registrar."""

    def __init__(self, server, *, name="alto", addr="grpc://127.0.0.1:7002", ttl_s=30, url=None, **how):
        self.state, self.name, self.addr = "starting", name, addr
        settings = RedisConfig(url=url or server.url, registration_ttl_seconds=ttl_s)
        connect = lambda: open_connection(settings.url, timeout_s=0.3)  # noqa: E731
        self.registrar = Registrar(settings, self.describe, **({"timing": QUICK, "connect": connect} | how))

    async def describe(self):
        capabilities = {"state": self.state, "max_concurrent_sessions": 4, "models": ["mock-440hz"]}
        return WorkerRecord(self.name, self.addr, capabilities, ("mock-440hz",), {"active_sessions": 1})

    async def become(self, condition):
        with trio.fail_after(SOON_S):
            while self.registrar.condition is not condition:
                await trio.sleep(0.01)


@pytest.fixture
def start_redis(tmp_path):
    servers = []

    def start(*arguments, **how):
        server = RedisServer(tmp_path, *arguments, **how)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.kill()


@pytest.fixture
def redis(start_redis):
    return start_redis()


@pytest.fixture
def lines():
    with structlog.testing.capture_logs() as lines:
        yield lines


@asynccontextmanager
async def running(*workers):
    async with trio.open_nursery() as nursery:
        for worker in workers:
            await nursery.start(worker.registrar.run)
        yield nursery
        nursery.cancel_scope.cancel()


async def listed(url, timeout_s=2.0):
    async with open_connection(url, timeout_s) as connection:
        return await find_workers(connection)


async def until(url, fine):
    with trio.fail_after(SOON_S):
        while not fine(listing := await listed(url)):
            await trio.sleep(0.01)
    return listing


async def test_a_worker_is_there_while_it_runs_and_gone_afterwards(redis, lines):
    worker = Server(redis)
    async with running(worker):
        (record,) = (listing := await listed(redis.url)).workers
        assert (record.name, record.address, record.state, record.limit) == ("alto", ("127.0.0.1", 7002), "starting", 4)
        assert record.metrics == {"active_sessions": 1.0}
        assert record.age_s(listing.now) < 1
        with redis.client() as client:
            assert 25_000 < client.pttl("worker:alto") <= 30_000
    assert not (await listed(redis.url)).workers
    assert [line["event"] for line in lines] == ["registered"]


async def test_a_change_is_written_at_once(redis):
    worker = Server(redis, timing=HeartbeatTiming(20.0))
    async with running(worker):
        worker.state = "ready"
        worker.registrar.notify()
        with trio.fail_after(2):
            await until(redis.url, lambda listing: listing.workers[0].state == "ready")


async def test_it_beats(redis):
    async with running(Server(redis)):
        (first,) = (await listed(redis.url)).workers
        await until(redis.url, lambda listing: listing.workers[0].last_heartbeat_ts > first.last_heartbeat_ts)


@pytest.mark.parametrize(
    ("hurt", "heal", "condition"),
    [
        (RedisServer.kill, RedisServer.start, Condition.UNREACHABLE),
        (RedisServer.freeze, RedisServer.thaw, Condition.SLOW),
    ],
)
async def test_a_redis_that_goes_and_comes_back_empty_or_not(redis, lines, hurt, heal, condition):
    worker = Server(redis)
    async with running(worker):
        hurt(redis)
        await worker.become(condition)
        await trio.sleep(1)
        heal(redis)
        await worker.become(Condition.REGISTERED)
        assert [record.name for record in (await listed(redis.url)).workers] == ["alto"]
    assert [line["event"] for line in lines] == ["registered", "not registered", "registered"]
    assert lines[1]["condition"] is condition
    assert f"redis://127.0.0.1:{redis.port}" in lines[1]["error"]
    assert lines[2]["away_s"] >= 1


async def test_the_loop_runs_on_while_redis_hangs(redis):
    worker = Server(redis, connect=lambda: open_connection(redis.url, timeout_s=2))
    async with running(worker):
        redis.freeze()
        worst_s, end = 0.0, trio.current_time() + 1.5
        while (before := trio.current_time()) < end:
            await trio.sleep(0.005)
            worst_s = max(worst_s, trio.current_time() - before)
        assert worker.registrar.condition is Condition.REGISTERED, "its heartbeat hangs"
        before = trio.current_time()
        worker.registrar.notify()
    assert trio.current_time() - before < 2.2, "leaving takes no longer than an answer may"
    redis.thaw()
    assert worst_s < 0.3


async def test_a_registry_that_is_away_at_the_start_is_no_reason_not_to_start(start_redis, tmp_path, lines):
    redis = RedisServer(tmp_path)
    worker = Server(redis)
    async with running(worker):
        assert worker.registrar.condition is Condition.UNREACHABLE
        start_redis(port=redis.port)
        await worker.become(Condition.REGISTERED)
    assert [line["event"] for line in lines] == ["not registered", "registered"]


async def test_a_registry_that_loses_its_memory_gets_the_record_again(redis):
    async with running(Server(redis)):
        with redis.client() as client:
            client.flushall()
        await until(redis.url, lambda listing: listing.workers)


@pytest.mark.parametrize("how", ["replicaof", "min-replicas"])
async def test_a_registry_that_is_read_only(redis, lines, how):
    worker = Server(redis)
    async with running(worker):
        with redis.client() as client:
            if how == "replicaof":
                client.replicaof("127.0.0.1", free_port())
            else:
                client.config_set("min-replicas-to-write", 1)
            await worker.become(Condition.READ_ONLY)
            await trio.sleep(0.5)
            if how == "replicaof":
                client.replicaof("NO", "ONE")
            else:
                client.config_set("min-replicas-to-write", 0)
        await worker.become(Condition.REGISTERED)
    assert [line["event"] for line in lines] == ["registered", "not registered", "registered"]
    assert "SET" not in lines[1]["error"], "the record isn't part of the message"


async def test_a_full_registry(redis):
    worker = Server(redis)
    async with running(worker):
        with redis.client() as client:
            client.config_set("maxmemory", 1)
            await worker.become(Condition.FULL)
            client.config_set("maxmemory", 0)
        await worker.become(Condition.REGISTERED)


async def test_a_password_that_is_asked_for_and_changed(redis, lines):
    worker, other = Server(redis), Server(redis, name="bass", url=f"redis://:secret@127.0.0.1:{redis.port}")
    async with running(worker):
        with redis.client() as client:
            client.config_set("requirepass", "secret")
            client.client_kill_filter(_type="normal", skipme=True)
            await worker.become(Condition.LOGIN)
            async with running(other):
                assert other.registrar.condition is Condition.REGISTERED
                client.config_set("requirepass", "changed")
                client.client_kill_filter(_type="normal", skipme=True)
                await other.become(Condition.LOGIN)
                client.config_set("requirepass", "")
    assert "secret" not in str(lines)
    assert "secret" not in repr((other.registrar, vars(other.registrar)))


ACL = "on >p@ss ~worker:* +watch +unwatch +multi +exec +getrange +set +del +scan +time"


async def test_a_user_of_its_own_with_the_least_rights(redis):
    with redis.client() as client:
        client.execute_command("ACL", "SETUSER", "tts", *ACL.split())
        url = f"redis://tts:p%40ss@127.0.0.1:{redis.port}/0"
        worker = Server(redis, url=url)
        async with running(worker):
            assert worker.registrar.condition is Condition.REGISTERED
            assert [record.name for record in (await listed(url)).workers] == ["alto"]
            client.execute_command("ACL", "SETUSER", "tts", "-set")
            await worker.become(Condition.FORBIDDEN)
            client.execute_command("ACL", "SETUSER", "tts", "+set")
            await worker.become(Condition.REGISTERED)
        assert not (await listed(url)).workers


async def test_a_unix_socket(redis):
    url = f"unix://{redis.socket}?db=3"
    async with running(Server(redis, url=url)):
        assert (await listed(url)).workers
        assert not (await listed(redis.url)).workers


async def test_tls(redis, tmp_path):
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with tls_front(redis, context) as port:
        url = f"rediss://127.0.0.1:{port}"
        with pytest.raises(RegistryError, match=f"the registry {url} is {Condition.UNREACHABLE}: .") as caught:
            await listed(url)
        assert caught.value.condition is Condition.UNREACHABLE
        url += f"?ssl_ca_certs={tmp_path}/ca.pem"
        worker = Server(redis, url=url)
        async with running(worker):
            assert worker.registrar.condition is Condition.REGISTERED
            assert (await listed(url)).workers


async def test_sentinels_lead_to_the_master(start_redis, redis):
    sentinel = start_redis("--sentinel", config=f"sentinel monitor tts 127.0.0.1 {redis.port} 1\n")
    url = f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}/tts/0"
    async with open_connection(url) as connection:
        assert await connection.claim(WorkerRecord("alto", "grpc://a:1"), "i", 30, bool) is None
        assert (await find_workers(connection)).workers
    assert (await listed(redis.url)).workers


async def test_a_name_is_held_by_one(redis, lines):
    async with running(Server(redis)):
        twin = Server(redis, addr="grpc://127.0.0.1:7003")
        with pytest.RaisesGroup(
            pytest.RaisesExc(
                AlreadyExistsError, match=r"alto is held by another worker, at grpc://127.0.0.1:7002, .*take"
            )
        ):
            async with running(twin):
                pass
        (record,) = (await listed(redis.url)).workers
        assert record.addr.endswith(":7002"), "the twin, leaving, takes nothing along"


async def test_a_name_is_taken_over(redis, lines):
    old, new = Server(redis), Server(redis, addr="grpc://127.0.0.1:7003", takeover=True)
    async with running(old):
        async with running(new):
            await old.become(Condition.HELD)
            await trio.sleep(0.5)
            (record,) = (await listed(redis.url)).workers
            assert record.addr.endswith(":7003")
            assert new.registrar.condition is Condition.REGISTERED
        await old.become(Condition.REGISTERED)
    errors = [line for line in lines if line["log_level"] == "error"]
    assert len(errors) == 1
    assert "held by another worker, at grpc://127.0.0.1:7003" in errors[0]["error"]


async def test_a_restart_after_a_crash_finds_its_own_name_free(redis):
    with redis.client() as client:
        crashed = WorkerRecord("alto", "grpc://127.0.0.1:7002").stamped("gone", 30, float(client.time()[0]))
        client.set("worker:alto", crashed.to_json(), ex=30)
    async with running(Server(redis)):
        (record,) = (await listed(redis.url)).workers
        assert record.instance != "gone"


async def test_a_name_found_held_once_redis_lets_us_is_left_alone(redis, lines):
    with redis.client() as client:
        client.execute_command("ACL", "SETUSER", "late", *ACL.split(), "-set")
        url = f"redis://late:p%40ss@127.0.0.1:{redis.port}"
        late = Server(redis, url=url, addr="grpc://127.0.0.1:7003")
        async with running(late):
            assert late.registrar.condition is Condition.FORBIDDEN
            async with running(Server(redis)):
                client.execute_command("ACL", "SETUSER", "late", "+set")
                await late.become(Condition.HELD)
                await trio.sleep(0.5)
                (record,) = (await listed(redis.url)).workers
                assert record.addr.endswith(":7002")
            await late.become(Condition.REGISTERED)
    assert [line["log_level"] for line in lines] == ["warning", "info", "error", "info"]


async def test_what_is_no_record_is_shown_as_such(redis):
    async with running(Server(redis)):
        with redis.client() as client:
            client.set("worker:json", "{")
            client.set("worker:huge", b"x" * 1_000_000)
            client.set(b"worker:\xff\x1b[2J", b"\xff")
            client.rpush("worker:list", "a")
            client.set("worker:short", '{"name": "short"}')
            client.set("other", "of no interest")
        listing = await listed(redis.url)
        assert [record.name for record in listing.workers] == ["alto"]
        faults = {fault.key: fault.text for fault in listing.faults}
        assert set(faults) == {
            "worker:json", "worker:huge", r"worker:\xff\x1b[2J", "worker:list", "worker:short",
        }  # fmt: skip
        assert "not JSON" in faults["worker:json"]
        assert "larger than" in faults["worker:huge"]
        assert "another type" in faults["worker:list"]
        assert "lacks addr" in faults["worker:short"]


async def test_a_killed_worker_is_gone_within_its_ttl(redis):
    async with open_connection(redis.url) as connection:
        assert await connection.claim(WorkerRecord("killed", "grpc://h:1"), "instance", 0.5, bool) is None
        assert (await find_workers(connection)).workers
        await trio.sleep(0.6)
        assert not (await find_workers(connection)).workers


async def test_many_are_read_in_few_rounds(redis):
    with redis.client() as client:
        now = float(client.time()[0])
        for at in range(1200):
            record = WorkerRecord(
                f"w{at}", f"grpc://h:{at + 1}", {"max_concurrent_sessions": 8}, (), {"active_sessions": at % 8 + 1}
            )
            client.set(record.key, record.stamped(str(at), 30, now).to_json())
    listing = await listed(redis.url)
    assert len(listing.workers) == 1200
    assert pick(listing.workers, Wanted(), listing.now).metrics["active_sessions"] == 1
