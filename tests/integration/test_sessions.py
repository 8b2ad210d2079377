"""Sessions and models: who is let in, for how long, on which model, with which options."""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time

import grpc
import pytest

from tests.integration.support import (
    PAUSE,
    RESUME,
    Client,
    check_frames,
    clean_environment,
    eventually,
    refused,
    text_chunks,
)
from ttsw.fronts.abi.generated.tts import ErrorCode

MODELS = ("mock-440hz", "piper-en-us-joe-medium")
METRICS = (
    "rtf",
    "queue_depth",
    "active_sessions",
    "active_syntheses",
    "ttfa_ms_p50",
    "ttfa_ms_p95",
    "device_memory_used_mb",
    "device_memory_total_mb",
)


@pytest.fixture(scope="module")
def brief_worker(start_worker):
    """A worker of two sessions, which end after a second without activity."""
    return start_worker(
        worker__capabilities__max_concurrent_sessions=2,
        worker__session_idle_timeout_s=1,
    )


@pytest.fixture
def brief(connect, brief_worker):
    client = connect(brief_worker)
    eventually(lambda: client.metric("active_sessions") == 0)
    return client


# ---- who is let in


def test_a_third_session_of_two_is_refused_until_one_ends(brief):
    with contextlib.ExitStack() as held:
        first, second = (held.enter_context(speaking(brief)) for _ in range(2))
        answer = brief.try_start("third")
        assert not answer.success
        assert answer.error == ErrorCode.RESOURCE_EXHAUSTED
        assert "max_concurrent_sessions" in answer.message
        assert brief.end(first).success
        assert brief.try_start("third").success
        assert brief.end("third").success
        assert brief.end(second).success


@contextlib.contextmanager
def speaking(client):
    """A session that stays alive because it speaks."""
    session_id = client.start(duration_ms=60_000)
    call = client.open(session_id, "a")
    next(call)
    yield session_id
    call.cancel()


def test_capabilities_tell_the_limit(brief):
    told = brief.capabilities().capabilities
    assert told.max_concurrent_sessions == 2
    assert told.streaming
    assert told.cpu_ok
    assert told.languages == ["en"]


def test_a_session_without_activity_ends(brief):
    session_id = brief.start()
    eventually(lambda: brief.metric("active_sessions") == 0)
    assert brief.control(session_id, PAUSE).error == ErrorCode.NOT_FOUND
    code, text = refused(brief.open(session_id, "Too late."))
    assert code is grpc.StatusCode.NOT_FOUND
    assert "idle for too long" in text


def test_speech_and_commands_are_activity(brief):
    session_id = brief.start(duration_ms=2500)
    check_frames(brief.speak(session_id, "Longer than the time-out."), session_id)
    assert brief.control(session_id, PAUSE).success
    brief.end(session_id)


def test_an_utterance_paused_for_too_long_ends_with_its_session(brief):
    session_id = brief.start()
    call = brief.open(session_id, "This will be left unsaid. " * 20)
    next(call)
    brief.control(session_id, PAUSE)
    code, text = refused(call)
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "idle for 1 s" in text
    assert brief.control(session_id, RESUME).error == ErrorCode.NOT_FOUND


def test_a_name_that_is_taken_is_refused(client):
    with client.session() as session_id:
        answer = client.try_start(session_id)
        assert not answer.success
        assert answer.error == ErrorCode.ALREADY_EXISTS
        assert session_id in answer.message
    client.start(session_id)
    client.end(session_id)


def test_a_session_belongs_to_no_connection(worker):
    with Client(worker.address) as first:
        session_id = first.start(pacing="fast")
    with Client(worker.address) as second:
        check_frames(second.speak(session_id, "From another connection."), session_id)
        call = second.open(session_id, "Once more, " * 50)
        first_frame = next(call)
        with Client(worker.address) as third:
            assert third.control(session_id, PAUSE).success
            assert third.end(session_id).success
        check_frames([first_frame, *call], session_id)


# ---- clients that leave, and clients that don't read


def test_a_client_that_closes_its_channel_frees_its_utterance(worker, client):
    session_id = client.start()
    leaver = Client(worker.address)
    call = leaver.open(session_id, "word " * 200)  # grpcio cancels a call that nobody holds
    next(call)
    assert client.metric("active_syntheses") == 1
    leaver.close()
    eventually(lambda: client.metric("active_syntheses") == 0)
    assert worker.utterance(session_id)["cause"] == "client left"
    check_frames(client.speak(session_id, "Still there."), session_id)
    client.end(session_id)


def test_a_client_that_cancels_frees_its_utterance(worker, client):
    session_id = client.start()
    call = client.open(session_id, "word " * 200)
    next(call)
    call.cancel()
    eventually(lambda: client.metric("active_syntheses") == 0)
    assert worker.utterance(session_id)["cause"] == "client left"
    client.end(session_id)


SPEAK_AND_TELL = """
import sys
from tests.integration.support import Client
client = Client(sys.argv[1])
call = client.open(sys.argv[2], "word " * 200)
next(call)
print("speaking", flush=True)
list(call)
"""


def test_a_client_that_is_killed_frees_its_utterance(worker, client):
    session_id = client.start()
    command = [sys.executable, "-c", SPEAK_AND_TELL, worker.address, session_id]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=clean_environment(), text=True) as leaver:
        assert leaver.stdout.readline() == "speaking\n"
        os.kill(leaver.pid, signal.SIGKILL)
    eventually(lambda: client.metric("active_syntheses") == 0)
    assert worker.utterance(session_id)["cause"] == "client left"
    client.end(session_id)


def test_a_client_that_stops_reading_costs_a_bounded_number_of_frames(worker, client):
    """An hour of audio is asked for, as fast as can be, and one frame is read."""
    session_id = client.start(pacing="fast", duration_ms=3_600_000, chunk_ms=1000)
    call = client.open(session_id, "a")
    next(call)
    last = -1
    while (now := client.control(session_id, RESUME).last_sequence_number) != last:  # RESUME: tells, changes nothing
        last = now
        time.sleep(0.5)  # noqa: TID251 - real time in which nothing more may be sent
    call.cancel()
    line = worker.utterance(session_id)
    client.end(session_id)
    assert line["frames"] == last
    assert last < 6000  # 12 MB: what the client's own windows take; of 180 000


def test_a_client_that_reads_late_gets_everything(client):
    with client.session(pacing="fast", duration_ms=60_000) as session_id:
        call = client.open(session_id, "a")
        first = list(itertools.islice(call, 1))
        time.sleep(0.5)  # noqa: TID251 - the client is slow on purpose
        frames = first + list(call)
    check_frames(frames, session_id)
    assert len(frames) == 3000


# ---- models


def test_models_are_listed_with_what_they_are(client):
    models = client.models()
    assert set(models) >= {*MODELS, "hibari-heart", "piper-en-us-lessac-medium"}
    mock, joe = (models[model_id] for model_id in MODELS)
    assert (mock.family, joe.family) == ("mock", "piper")
    assert mock.is_loaded
    assert mock.metadata["state"] == "ready"
    assert joe.languages == ["en"]
    assert joe.metadata["license"] == "CC0-1.0"


def test_an_empty_model_id_means_the_default(client, piper):
    for to in (client, piper):
        assert to.load("").success
        with to.session("") as session_id:
            assert session_id
    assert "mock-440hz" in client.try_start("named").message
    client.end("named")


@pytest.mark.parametrize("ask", ["try_start", "load", "unload"])
def test_an_unknown_model_is_refused_and_those_that_exist_are_listed(client, ask):
    arguments = ("nobody", "no-such-model") if ask == "try_start" else ("no-such-model",)
    answer = getattr(client, ask)(*arguments)
    assert not answer.success
    assert answer.error == ErrorCode.NOT_FOUND
    for name in ("no-such-model", *MODELS):
        assert name in answer.message


def test_a_model_is_loaded_used_and_unloaded(start_worker, connect):
    own = start_worker(model_manager__warmup_enabled="false")
    client = connect(own)
    joe = MODELS[1]
    assert not client.models()[joe].is_loaded
    loaded = client.load(joe)
    if not loaded.success:
        pytest.skip(loaded.message)
    assert loaded.load_duration_ms > 0
    assert client.models()[joe].is_loaded
    assert client.capabilities().resident_models == sorted(MODELS)
    assert client.load(joe).success
    assert len(own.lines("model loaded", model_id=joe)) == 1
    with client.session(joe) as session_id:
        answer = client.unload(joe)
        assert not answer.success
        assert answer.error == ErrorCode.FAILED_PRECONDITION
        assert f"in use by session {session_id}" in answer.message
    eventually(lambda: client.unload(joe).success)
    assert not client.models()[joe].is_loaded
    assert client.unload(joe).success
    assert client.unload("").success
    assert client.capabilities().resident_models == []
    check_frames(client.say("Loaded again for this."))
    assert client.models()[MODELS[0]].is_loaded


def test_metrics_are_there_before_the_first_utterance_and_after(start_worker, connect):
    client = connect(start_worker(model_manager__warmup_enabled="false"))
    assert set(METRICS) <= set(client.capabilities().metrics)
    assert client.metric("rtf") == client.metric("ttfa_ms_p50") == client.metric("ttfa_ms_p95") == 0
    check_frames(client.say("Something to measure."))
    metrics = eventually(lambda: (m := client.capabilities().metrics)["active_sessions"] == 0 and m)
    assert set(METRICS) <= set(metrics)
    assert 0 < metrics["rtf"] < 10
    assert 0 < metrics["ttfa_ms_p50"] <= metrics["ttfa_ms_p95"]
    assert 0 < metrics["device_memory_used_mb"] < metrics["device_memory_total_mb"]
    assert metrics["active_syntheses"] == metrics["queue_depth"] == 0


def test_metrics_count_sessions_and_utterances(brief):
    with speaking(brief) as session_id:
        metrics = brief.capabilities().metrics
        assert (metrics["active_sessions"], metrics["active_syntheses"]) == (1, 1)
        brief.end(session_id)


# ---- options


def test_an_unknown_option_is_refused_and_the_valid_ones_are_listed(client):
    answer = client.try_start("nobody", sped="2")
    assert not answer.success
    assert answer.error == ErrorCode.INVALID_ARGUMENT
    for name in ("'sped'", "text_mode", "pacing", "lead_ms", "speed", "language", "loudness_lufs", "duration_ms"):
        assert name in answer.message


def test_an_option_of_another_family_is_refused(piper):
    answer = piper.try_start("nobody", duration_ms="2")
    assert answer.error == ErrorCode.INVALID_ARGUMENT
    assert "speed" in answer.message


@pytest.mark.parametrize(
    ("name", "value", "valid"),
    [
        ("text_mode", "words", "chunks, tokens"),
        ("text_mode", "", "chunks, tokens"),
        ("pacing", "REALTIME", "realtime, fast"),
        ("lead_ms", "19", "from 20 to 60000"),
        ("lead_ms", "nan", "from 20 to 60000"),
        ("lead_ms", "inf", "from 20 to 60000"),
        ("lead_ms", "-1e308", "from 20 to 60000"),
        ("lead_ms", "9" * 5000, "from 20 to 60000"),
        ("speed", "0", "from 0.25 to 4"),
        ("speed", "", "from 0.25 to 4"),
        ("speed", "fast", "from 0.25 to 4"),
        ("seed", "1.5", "a whole number"),
        ("seed", "-1", "a whole number"),
        ("seed", "9" * 5000, "a whole number"),
        ("loudness_lufs", "0", "from -40 to -5"),
        ("language", "xx", "one of: en"),
    ],
)
def test_a_value_that_is_not_valid_is_refused_and_what_is_valid_is_said(client, name, value, valid):
    answer = client.try_start("nobody", **{name: value})
    assert not answer.success
    assert answer.error == ErrorCode.INVALID_ARGUMENT
    assert f"option {name}=" in answer.message
    assert valid in answer.message
    assert len(answer.message) < 500


def test_a_refused_session_leaves_nothing_behind(client):
    before = client.metric("active_sessions")
    client.try_start("nobody", speed="0")
    assert client.metric("active_sessions") == before
    client.start("nobody")
    client.end("nobody")


def test_options_take_effect(client):
    text = "Twenty characters ok"
    assert len(client.say(text, speed=2)) == len(client.say(text, ms_per_char=25)) == 25
    assert len(client.say(text, speed=0.5)) == 100
    with client.session(language="en", pacing="fast") as session_id:
        assert len(client.speak(session_id, text)) == 50


def test_options_of_a_session_end_with_it(client):
    session_id = client.start(speed=4, pacing="fast")
    client.end(session_id)
    client.start(session_id, pacing="fast")
    assert len(client.speak(session_id, "Ten chars.")) == 25
    client.end(session_id)


def test_chunks_numbered_by_the_client_are_taken_in_the_order_in_which_they_come(client):
    with client.session(pacing="fast") as session_id:
        chunks = text_chunks(session_id, "One two. ", "Three.")
        chunks[0].sequence_number, chunks[1].sequence_number = 9, 3
        check_frames(list(client.stream(chunks)), session_id)
