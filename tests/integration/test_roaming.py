"""`ttsw workers` and `ttsw say --redis`, as a person at a shell meets them. The test writes the workers' records."""

import contextlib
import json
import signal
import socket
import subprocess
import time

import pytest

from tests.integration.redis_server import RedisServer, free_port
from tests.integration.support import PATIENCE_S, Client, eventually
from tests.integration.test_cli import read_wav, talking_to, ttsw
from ttsw.registry.record import WorkerRecord


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def register(server):
    """Write records: of worker processes, or of addresses."""
    with server.client() as client:
        client.flushall()

        def write(name, where, *, busy=0.0, age_s=0.0, **capabilities):
            address = where if isinstance(where, str) else where.address
            told = {"state": "ready", "max_concurrent_sessions": 16, "languages": ["en"]} | capabilities
            record = WorkerRecord(name, f"grpc://{address}", told, ("mock-440hz",), {"active_sessions": busy})
            client.set(record.key, record.stamped(name, 30, time.time() - age_s).to_json())

        yield write


@pytest.fixture
def say(server, tmp_path):
    """Say something through the registry: what was heard, and what was said on stderr."""
    file = tmp_path / "out.wav"

    def run(text="Twenty characters ok", *arguments, **how):
        _, said = ttsw("say", text, "--redis", server.url, "-o", str(file), *arguments, **how)
        return len(read_wav(file)) if file.exists() else 0, said

    return run


@pytest.fixture(scope="module")
def second(start_worker):
    return start_worker(worker__capabilities__max_concurrent_sessions=1)


@contextlib.contextmanager
def deaf_port():
    """An address where connections are taken and nothing is answered."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        yield f"127.0.0.1:{deaf.getsockname()[1]}"


def spoken(worker):
    return len(worker.lines("utterance"))


def test_workers_are_listed(server, register, worker):
    register("alto", worker, busy=3)
    register("bass", "bass.example:1", age_s=60)
    register("cello", "cello.example:1", languages=["de"])
    with server.client() as client:
        client.set("worker:odd", "?")
    stdout, _ = ttsw("workers", "--redis", server.url)
    rows = {line.split()[0]: line.split()[1:] for line in stdout.decode().splitlines()}
    assert rows["alto"][:4] == [worker.address, "ready", "3/16", "mock-440hz"]
    assert rows["bass"][1] == "stale"
    assert rows["malformed"][0] == "worker:odd:"
    told = json.loads(ttsw("workers", "--json", "--language", "de", TTSW_REDIS__URL=server.url)[0])
    assert [each["name"] for each in told["workers"]] == ["cello"]
    assert not json.loads(ttsw("workers", "--json", "--model", "x", "--redis", server.url)[0])["workers"]


def test_what_workers_cannot_do_is_said_in_a_line(server):
    for arguments, words in (
        ((), "no registry: give --redis URL"),
        (("--redis", "http://x"), "redis.url"),
        (("--redis", f"redis://:secret@127.0.0.1:{free_port()}"), "is unreachable"),
    ):
        _, said = ttsw("workers", *arguments, code=1)
        assert words in said
        assert "secret" not in said


def test_a_program_that_watches_reads_a_line_for_each_look(server, register):
    register("alto", "alto.example:1")
    with talking_to("workers", "--watch", "--json", "--redis", server.url) as running:
        looks = [json.loads(running.stdout.readline()) for _ in range(2)]
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=PATIENCE_S)
    assert [[each["name"] for each in look["workers"]] for look in looks] == [["alto"]] * 2
    assert running.returncode == 130


def test_watching_outlives_the_registry(tmp_path):
    redis = RedisServer(tmp_path)
    redis.start()
    with talking_to("workers", "--watch", "--redis", redis.url) as running:
        for part in (lambda: None, redis.kill):
            part()
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(5)
            assert running.poll() is None
        running.send_signal(signal.SIGINT)
        stdout, said = running.communicate(timeout=PATIENCE_S)
    assert b"is unreachable" in stdout
    assert b"Traceback" not in said
    assert running.returncode == 130


def test_the_least_busy_worker_speaks(say, register, worker, second):
    register("alto", worker, busy=5)
    register("bass", second, busy=0)
    before = spoken(second)
    samples, said = say()
    assert samples == 48_000
    assert said.count("\n") == 1
    eventually(lambda: spoken(second) == before + 1)


def test_the_next_speaks_where_one_refuses_or_is_gone_or_hangs(say, register, worker, second):
    with deaf_port() as deaf, Client(second.address) as client, client.session():
        register("gone", f"127.0.0.1:{free_port()}", busy=0)
        register("full", second, busy=1)
        register("deaf", deaf, busy=2)
        register("stale", "stale.example:1", busy=0, age_s=60)
        register("alto", worker, busy=5)
        samples, said = say()
    assert samples == 48_000
    told = said.splitlines()
    assert [line.split()[0] for line in told[:3]] == ["gone", "full", "deaf"]
    assert "no answer within 3 s" in told[2]
    assert len(told) == 4


def test_what_every_worker_would_refuse_is_told_at_once(server, register, worker, second):
    register("alto", worker)
    register("bass", second)
    _, said = ttsw("say", "Hi", "--redis", server.url, "-O", "sped=2", code=1)
    assert said.startswith("error: unknown option 'sped'")
    assert said.count("\n") == 1


def test_what_was_heard_is_not_said_again(say, register, worker, second):
    register("alto", worker, busy=0)
    register("bass", second, busy=1)
    before = spoken(second)
    samples, said = say("Twenty characters ok", "-O", "fail_after_ms=500", code=1)
    assert not samples, "what is no whole text isn't kept"
    assert said.startswith("error: the mock voice failed")
    assert spoken(second) == before


def test_a_text_that_comes_in_pieces_is_told_to_the_next_from_its_beginning(server, register, start_worker, worker):
    doomed = start_worker()
    register("doomed", doomed, busy=0)
    register("alto", worker, busy=1)
    with talking_to("say", "-", "-o", "-", "--redis", server.url) as running:
        running.stdin.write(b"Thi")  # no word yet: nothing is heard
        running.stdin.flush()
        with Client(doomed.address) as client:
            eventually(lambda: client.metric("active_syntheses"))
        doomed.kill()
        running.stdin.write(b"s sentence is whole.")
        stdout, said = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 0, said
    assert said.startswith(b"doomed at ")
    with Client(worker.address) as client:
        whole = client.say("This sentence is whole.")
    assert len(stdout) == 44 + 1920 * len(whole)


def test_nobody_to_speak_through(register, server):
    assert "no worker is registered" in ttsw("say", "Hi", "--redis", server.url, code=1)[1]
    register("alto", "127.0.0.1:1", state="draining")
    assert "ready are: none" in ttsw("say", "Hi", "--redis", server.url, code=1)[1]
    register("bass", f"127.0.0.1:{free_port()}")
    assert "no worker speaks: grpc://127.0.0.1" in ttsw("say", "Hi", "--redis", server.url, code=1)[1]
    assert "has model 'x'" in ttsw("say", "Hi", "--redis", server.url, "--model", "x", code=1)[1]
    assert "give one of them" in ttsw("say", "Hi", "--redis", server.url, "--addr", "h:1", code=1)[1]
