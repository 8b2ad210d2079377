"""Workers as a fleet: in a real Redis, with metrics, while that comes and goes; drained one by one."""

import json
import signal
import subprocess
import threading
import time
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.redis_server import RedisServer
from tests.integration.support import PATIENCE_S, TTSW, check_frames, clean_environment, eventually

FAST = {"redis__heartbeat_interval_seconds": 0.5, "redis__registration_ttl_seconds": 2}


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def start(start_worker, redis):
    """Start workers that register; they are gone with the test."""
    workers = []

    def start(name, *arguments, ready=True, **settings):
        settings = {"worker__name": name, "redis__url": redis.url, "model_manager__warmup_enabled": "false"} | settings
        workers.append(start_worker(*(arguments or ("--adapter", "mock")), ready=ready, **settings))
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()


def records(redis):
    with redis.client() as client:
        return {key.decode(): json.loads(client.get(key) or b"{}") for key in client.scan_iter("worker:*")}


def states(redis):
    return {key.removeprefix("worker:"): record["capabilities"]["state"] for key, record in records(redis).items()}


def test_a_worker_is_registered_while_it_serves_and_signs_off(start, redis, connect):
    worker = start("alto")
    eventually(lambda: states(redis) == {"alto": "ready"})
    record = records(redis)["worker:alto"]
    assert set(record) == {"name", "addr", "capabilities", "resident_models", "metrics", "last_heartbeat_ts"}
    assert record["addr"] == f"grpc://{worker.address}"
    assert record["resident_models"] == ["mock-440hz"]
    assert connect(worker).load("hibari-heart").success
    eventually(lambda: records(redis)["worker:alto"]["resident_models"] == ["hibari-heart", "mock-440hz"])
    client = connect(worker)
    session_id = client.start(duration_ms=1_500)
    call = client.open(session_id, "a")
    next(call)
    worker.signal(signal.SIGTERM)
    eventually(lambda: states(redis) == {"alto": "draining"})
    assert list(call)[-1].is_final
    assert worker.wait() == 0
    assert records(redis) == {}


def test_a_name_that_another_live_worker_holds_is_refused_unless_taken_over(start, redis):
    start("tenor")
    second = start("tenor", ready=False)
    assert second.process.wait(PATIENCE_S) == 1
    assert "tenor" in second.log.read_text()
    assert "--takeover" in second.log.read_text()
    third = start("tenor", "--adapter", "mock", "--takeover")
    eventually(lambda: records(redis)["worker:tenor"]["addr"] == f"grpc://{third.address}")


def test_of_sixteen_one_is_killed_and_the_others_go_on(start, redis):
    names = [f"choir-{number:02}" for number in range(16)]
    workers = {name: start(name, ready=False, **FAST) for name in names}
    for worker in workers.values():
        worker.wait_ready()
    eventually(lambda: set(states(redis)) >= set(names))
    workers["choir-07"].process.kill()
    eventually(lambda: "choir-07" not in states(redis), patience_s=10)
    assert {name for name, state in states(redis).items() if state == "ready"} >= set(names) - {"choir-07"}
    listed = subprocess.run(
        [*TTSW, "workers", "--redis", redis.url, "--json"], env=clean_environment(), capture_output=True, check=True,
        timeout=PATIENCE_S,
    ).stdout  # fmt: skip
    assert b"choir-06" in listed
    assert b"choir-07" not in listed


def test_not_one_frame_is_late_because_redis_is_away(start, redis, connect):
    """Late is what the worker itself calls late, in its metrics; a busy machine's own lateness is measured first."""
    worker = start("bass", metrics__http_port=0, worker__capabilities__max_concurrent_sessions=30, **FAST)
    url = eventually(lambda: worker.lines("metrics"))[0]["url"]
    client = connect(worker)
    sessions = [client.start(duration_ms=13_000) for _ in range(20)]
    spoken = {}

    def speak(session_id):
        spoken[session_id] = client.speak(session_id, "a")

    threads = [threading.Thread(target=speak, args=(each,)) for each in sessions]  # noqa: TID251 - twenty clients
    for thread in threads:
        thread.start()
    quiet = late_in(url, 3)
    with redis.client() as admin:
        admin.replicaof("127.0.0.1", 1)  # a replica of nobody takes no writes
        unwritable = late_in(url, 2)
        admin.replicaof("no", "one")
    redis.freeze()
    frozen = late_in(url, 2)
    redis.thaw()
    redis.kill()
    away = late_in(url, 2)
    redis.start()
    back = late_in(url, 2)
    for thread in threads:
        thread.join(PATIENCE_S)
    for session_id, frames in spoken.items():
        check_frames(frames, session_id)
    assert len(spoken) == 20
    allowed = max(5, 3 * quiet)  # of some 3 000 frames in each span
    assert max(unwritable, frozen, away, back) <= allowed, (quiet, unwritable, frozen, away, back)
    eventually(lambda: "bass" in states(redis))


def late_in(url, seconds):
    """Frames that the worker calls late, in so many seconds."""
    before = sample(url, "tts_frames_late_total")
    time.sleep(seconds)  # noqa: TID251 - real time in which frames are sent
    return sample(url, "tts_frames_late_total") - before


def families(url):
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
        return list(text_string_to_metric_families(answer.read().decode()))


def sample(url, name):
    return sum(each.value for family in families(url) for each in family.samples if each.name == name)


def test_metrics_health_and_readiness_over_http(start, connect):
    worker = start("mezzo", metrics__http_port=0)
    url = eventually(lambda: worker.lines("metrics"))[0]["url"]
    client = connect(worker)
    check_frames(client.say("Measured."))
    assert not client.load("no-such").success
    assert sample(url, "tts_frames_total") > 0
    assert sample(url, "tts_utterances_total") == 1
    assert sample(url, "tts_model_loads_total") == 1
    assert sample(url, "tts_time_to_first_audio_seconds_count") == 1
    assert sample(url, "tts_refused_total") == 1
    for page, text in (("healthz", b"alive\n"), ("readyz", b"ready\n")):
        with urllib.request.urlopen(url.replace("/metrics", f"/{page}"), timeout=PATIENCE_S) as answer:
            assert answer.read() == text


def test_a_client_that_speaks_through_discovery_is_moved_on_when_its_worker_drains(start, redis, tmp_path):
    first = start("first", **FAST)
    start("second", **FAST)
    eventually(lambda: {"first", "second"} <= set(states(redis)))

    def say(name):
        return subprocess.run(
            [*TTSW, "say", "--redis", redis.url, "Whole or a clear error.", "-o", str(tmp_path / name)],
            env=clean_environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip

    assert say("a.wav").returncode == 0
    first.signal(signal.SIGTERM)
    assert first.wait() == 0
    ended = say("b.wav")
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "b.wav").stat().st_size > 50_000
