"""Engines in processes of their own, as a client sees them: speech, crashes, and that others don't notice."""

import os
import random
import signal
import threading
import time

import grpc
import psutil
import pytest

from tests.integration.support import PAUSE, RESUME, STOP, check_frames, eventually, pcm, refused
from ttsw.fronts.abi.generated.tts import ErrorCode

HEART, MOCK = "hibari-heart", "mock-440hz"
TEXT = "The birch canoe slid on the smooth planks. Glue the sheet to the dark blue background."
LONG = {"duration_ms": 60_000, "chunk_ms": 20, "delay_ms": 10, "pacing": "fast"}
"""A speech of a minute, of which nothing is made ahead."""


@pytest.fixture
def start(start_worker, connect, tmp_path):
    """Start workers whose engines have a state folder of their own; they stop with the test, and leave no process."""
    workers = []

    def start(*arguments, **settings):
        settings = {
            "model_manager__state_dir": tmp_path / "state",
            "model_manager__min_residency_ms": 0,
            "model_manager__default_model_id": HEART,
        } | settings
        workers.append(start_worker(*arguments or ("--default-model", HEART), **settings))
        return workers[-1], connect(workers[-1])

    yield start
    for worker in workers:
        if worker.process.poll() is None:
            children = engines(worker)
            assert worker.stop() == 0
            assert not [child for child in children if child.is_running()]


def engines(worker):
    """The processes of a worker's engines."""
    return psutil.Process(worker.process.pid).children(recursive=True)


def engine(worker):
    (one,) = engines(worker)
    return one


def test_a_voice_sounds_the_same_in_a_process_as_in_threads(start):
    _, threads = start()
    worker, process = start(engines__hibari__host="process")
    assert "hibari.onnx" not in worker.log.read_text()
    spoken = threads.say(TEXT, seed=5)
    check_frames(spoken)
    assert pcm(process.say(TEXT, seed=5)) == pcm(spoken)
    assert len(engines(worker)) == 1


CLOSER = """
from pathlib import Path

import numpy as np

from ttsw.adapters.base import TTSAdapter


class Closer(TTSAdapter):
    @classmethod
    def load(cls, pack, settings):
        return cls(pack)

    def speak(self, text, options):
        yield np.zeros(480, np.float32)

    def close(self):
        (self.pack.root / "closed").write_text("closed")
"""


def test_an_engine_is_told_to_close_when_its_worker_stops(start, tmp_path, monkeypatch):
    (tmp_path / "closer.py").write_text(CLOSER)
    package = tmp_path / "closer-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: closer\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[ttsw.adapters]\ncloser = closer:Closer\n")
    folder = tmp_path / "packs" / "closer" / "voice"
    folder.mkdir(parents=True)
    (folder / "metadata.yaml").write_text(
        "family: closer\nmodel_id: voice\ncapabilities: {cpu_ok: true}\nlanguages: [en]\naudio: {sample_rate: 24000}\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    worker, client = start(
        "--default-model", "closer-voice",
        model_manager__default_model_id="closer-voice", model_manager__voicepacks_dir=tmp_path / "packs",
        model_manager__warmup_enabled=False, engines__closer__host="process",
    )  # fmt: skip
    assert client.say("Hello.")
    assert not (folder / "closed").exists()
    assert worker.stop() == 0
    assert (folder / "closed").read_text() == "closed"


def test_it_pauses_goes_on_and_stops(start):
    worker, client = start(engines__mock__host="process")
    with client.session(MOCK, duration_ms=2_000, chunk_ms=100) as session_id:
        call = client.open(session_id, "a")
        frames = [next(call) for _ in range(10)]
        paused_at = client.control(session_id, PAUSE).last_sequence_number
        time.sleep(0.3)  # noqa: TID251 - a pause is to be seen
        assert client.control(session_id, RESUME).last_sequence_number == paused_at
        frames += list(call)
        check_frames(frames, session_id)
        assert len(frames) == 100
        call = client.open(session_id, "b")
        next(call)
        assert client.control(session_id, STOP).success
        assert list(call)[-1].is_final
        check_frames(client.speak(session_id, "c"), session_id)
    assert engine(worker).is_running()


def test_an_unloaded_model_leaves_no_process_and_comes_back(start):
    worker, client = start(engines__mock__host="process")
    for _ in range(3):
        assert client.load(MOCK).success
        child = engine(worker)
        told = client.models()[MOCK].metadata
        assert (told["host"], told["pid"]) == ("process", str(child.pid))
        check_frames(client.say("a", model_id=MOCK, duration_ms=200))
        assert client.unload(MOCK).success
        assert not child.is_running()
        assert not engines(worker)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_who_speaks_while_it_dies_is_told_and_speaks_again_in_the_same_session(start, number):
    worker, client = start(engines__mock__host="process")
    with client.session(MOCK, **LONG) as session_id:
        call = client.open(session_id, "a")
        next(call)
        engine(worker).send_signal(number)
        code, text = refused(call)
        assert code == grpc.StatusCode.UNAVAILABLE
        assert text.startswith(f"the engine of {MOCK} ")
        assert number.name in text
        call = client.open(session_id, "a")
        assert next(call).sequence_number == 1
        assert client.control(session_id, STOP).success
        assert list(call)[-1].is_final
    (told,) = worker.lines("engine lost")
    assert told["utterances"] == 1
    assert worker.lines("model unloaded", cause="lost")


def test_one_that_hangs_is_told_within_its_time_and_replaced(start):
    worker, client = start(engines__mock__host="process", engines__mock__answer_timeout_s=1)
    with client.session(MOCK, **LONG) as session_id:
        call = client.open(session_id, "a")
        next(call)
        engine(worker).suspend()
        code, text = refused(call)
        assert code == grpc.StatusCode.UNAVAILABLE
        assert "has not answered for" in text
    with client.session(MOCK, duration_ms=200) as session_id:
        check_frames(client.speak(session_id, "b"), session_id)


def test_one_that_dies_while_it_loads_fails_that_load_alone(start, tmp_path):
    packs = tmp_path / "packs" / "mock" / "slow"
    packs.mkdir(parents=True)
    (packs / "metadata.yaml").write_text(
        "family: mock\nmodel_id: slow\nlanguages: [en]\naudio: {sample_rate: 24000}\noptions: {load_ms: 600000}\n"
    )
    worker, client = start(engines__mock__host="process", model_manager__voicepacks_dir=tmp_path / "packs")
    answers = []
    loader = threading.Thread(target=lambda: answers.append(client.try_start("s", "mock-slow")))  # noqa: TID251
    loader.start()
    child = eventually(lambda: next(iter(engines(worker)), None))
    eventually(lambda: child.num_threads() > 1)
    child.kill()
    loader.join(30)
    (answer,) = answers
    assert answer.error == ErrorCode.UNAVAILABLE
    assert "was killed by SIGKILL" in answer.message
    check_frames(client.say(TEXT))


def test_a_worker_that_is_killed_leaves_no_engine(start):
    worker, client = start(engines__mock__host="process")
    assert client.load(MOCK).success
    child = engine(worker)
    child.suspend()
    worker.process.kill()
    worker.process.wait()
    psutil.wait_procs([child], timeout=5)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_worker_that_is_interrupted_lets_its_engines_speak_to_the_end(start):
    worker, client = start(engines__mock__host="process")
    call = client.open(client.start(None, MOCK, duration_ms=1_000, chunk_ms=100), "a")
    next(call)
    child = engine(worker)
    assert os.getpgid(child.pid) != os.getpgid(worker.process.pid), "a Ctrl-C is sent to a process group"
    worker.signal(signal.SIGINT)
    assert len(list(call)) == 49
    assert worker.wait() == 0
    assert not child.is_running()


@pytest.mark.slow
def test_twenty_deaths_of_one_engine_harm_nobody_else(start):
    """Twenty sessions speak with another model meanwhile, and each hears what it would hear alone."""
    worker, client = start(
        engines__mock__host="process",
        worker__capabilities__max_concurrent_sessions=64,
        model_manager__evict_check_interval_ms=1_000,
    )
    alone = pcm(client.say(TEXT, seed=5))
    over, faults, spoken = threading.Event(), [], []

    def speak_on():
        try:
            with client.session(HEART, seed=5) as session_id:
                while not over.is_set():
                    frames = client.speak(session_id, TEXT)
                    check_frames(frames, session_id)
                    assert pcm(frames) == alone
                    spoken.append(session_id)
        except Exception as error:  # told below
            faults.append(error)

    others = [threading.Thread(target=speak_on) for _ in range(20)]  # noqa: TID251
    for other in others:
        other.start()
    dice, told = random.Random(20), []
    try:
        for _ in range(20):
            answer = client.load(MOCK)  # a load that is asked for isn't held back
            assert answer.success, answer.message
            child = engine(worker)
            if dice.random() < 0.7:
                with client.session(MOCK, **LONG) as session_id:
                    call = client.open(session_id, "a")
                    next(call)
                    child.kill()
                    told.append(refused(call))
            else:
                child.kill()
            child.wait()
            eventually(lambda: client.models()[MOCK].metadata["state"] != "ready")
        eventually(lambda: len(spoken) >= 40 or faults)  # each has spoken twice, more or less
    finally:
        over.set()
        for other in others:
            other.join(60)
    assert not faults
    assert len(spoken) >= 40
    assert {code for code, _ in told} == {grpc.StatusCode.UNAVAILABLE}
    assert len(worker.lines("engine lost")) == 20
    assert psutil.Process(worker.process.pid).num_fds() < 100
