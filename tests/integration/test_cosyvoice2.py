"""CosyVoice 2 as a user has it: a voice pack, an environment, a process, recordings, instructions. Tiny weights."""

import signal
import time

import grpc
import numpy as np
import pytest
import soundfile

from tests.integration.support import PAUSE, RESUME, STOP, check_frames, eventually, refused
from tests.integration.tiny import ROUNDING, build, difference, processes, samples, say_at_once, ttsw
from ttsw.fronts.abi.generated.tts import ErrorCode

TINY = "cosyvoice2-tiny"
TEXT = "The birch canoe slid on the smooth planks."
NUMBERS = ("one", "two", "three")


@pytest.fixture(scope="module")
def packs(tmp_path_factory):
    root = tmp_path_factory.mktemp("packs")
    build("cosyvoice2", "builder.build(folder, 'tiny')", folder=root / "cosyvoice2" / "tiny")
    return root


@pytest.fixture(scope="module")
def settings(packs, tmp_path_factory):
    return {
        "model_manager__voicepacks_dir": packs,
        "model_manager__state_dir": tmp_path_factory.mktemp("state"),
        "model_manager__min_residency_ms": 0,
        "model_manager__evict_check_interval_ms": 200,
    }


@pytest.fixture(scope="module")
def worker(start_worker, settings):
    return start_worker(**settings, model_manager__warmup_enabled="false")  # a calibration takes 10 s of speech


@pytest.fixture
def client(worker, connect):
    return connect(worker)


@pytest.fixture
def recording(tmp_path):
    time_s = np.arange(4 * 24_000) / 24_000
    phase = 2 * np.pi * np.cumsum(180 + 40 * np.sin(2 * np.pi * 0.9 * time_s)) / 24_000
    tone = sum(np.sin(number * phase) / number for number in range(1, 20)) * (np.sin(2 * np.pi * 1.7 * time_s) > -0.4)
    path = tmp_path / "emma.wav"
    soundfile.write(path, 0.2 * tone, 24_000, subtype="PCM_16")
    return path


def test_it_is_spoken_with_through_serve_and_say(worker, tmp_path):
    out = tmp_path / "out.wav"
    ttsw("say", TEXT, "--addr", worker.address, "--model", TINY, "-O", "seed=1", "-O", "language=en", "-o", out)
    audio, rate = soundfile.read(out)
    assert rate == 48_000
    assert 0.5 < len(audio) / rate < 30
    assert np.abs(audio).max() > 0.01


def test_it_speaks_chinese_and_by_instruction(client):
    plain = samples(client.say(TEXT, model_id=TINY, seed=3))
    check_frames(client.say("你好世界。", model_id=TINY, seed=3, language="zh"))
    told = samples(client.say(TEXT, model_id=TINY, seed=3, instruct="whisper"))
    assert len(plain) != len(told) or difference(plain, told) > ROUNDING


def test_it_sounds_like_the_recording_that_it_is_shown(client, recording):
    ttsw("voices", "clone", "emma-mute", recording)
    ttsw("voices", "clone", "emma", recording, "--transcript", "Ob blond oder braun.")
    answer = client.try_start("a", TINY, reference_audio="emma-mute", mode="zero_shot")
    assert answer.error == ErrorCode.INVALID_ARGUMENT
    assert "transcript" in answer.message
    wanted = {
        "own": {},
        "with its words": {"reference_audio": "emma"},
        "without": {"reference_audio": "emma-mute"},
        "without, though known": {"reference_audio": "emma", "mode": "cross_lingual"},
    }
    heard = {name: samples(client.say(TEXT, model_id=TINY, seed=3, **options)) for name, options in wanted.items()}
    assert len(heard["own"]) != len(heard["without"]) or difference(heard["own"], heard["without"]) > ROUNDING
    assert len(heard["without"]) == len(heard["without, though known"])
    assert difference(heard["without"], heard["without, though known"]) < ROUNDING
    assert len(heard["with its words"]) > 0


def test_what_cannot_be_spoken_is_refused_when_the_session_starts(client):
    for options, said in (
        ({"language": "xx"}, "language='xx'"),
        ({"reference_audio": "nobody"}, "nobody"),
        ({"reference_audio": "../../secret.wav"}, "is not valid"),
        ({"speed": 9}, "speed"),
    ):
        answer = client.try_start("a", TINY, **options)
        assert not answer.success
        assert said in answer.message
    check_frames(client.say(TEXT, model_id=TINY))


def test_what_it_can_do_is_told(client):
    told = client.models()[TINY]
    assert {"streaming", "zero_shot", "emotive_zero_prompt"} <= set(told.metadata["capabilities"].split(","))
    assert {"en", "zh"} <= set(told.languages)
    capabilities = client.capabilities().capabilities
    assert capabilities.zero_shot
    assert capabilities.emotive_zero_prompt
    assert {"en", "zh"} <= set(capabilities.languages)


def test_text_is_spoken_as_it_comes(client):
    words = [f"{word} " for word in f"{TEXT} {TEXT}".split()]
    with client.session(TINY, text_mode="tokens", seed=1) as session_id:
        check_frames(client.speak(session_id, *words), session_id)


def test_it_pauses_goes_on_and_stops(client):
    with client.session(TINY, seed=1) as session_id:
        whole = client.speak(session_id, TEXT)
        call = client.open(session_id, TEXT)
        frames = [next(call) for _ in range(10)]
        at = client.control(session_id, PAUSE).last_sequence_number
        time.sleep(0.3)  # noqa: TID251 - a pause is to be seen
        assert client.control(session_id, RESUME).last_sequence_number == at
        frames += list(call)
        check_frames(frames, session_id)
        assert len(frames) == len(whole)
        call = client.open(session_id, TEXT * 5)
        next(call)
        assert client.control(session_id, STOP).success
        assert list(call)[-1].is_final
        check_frames(client.speak(session_id, TEXT), session_id)


def test_several_speak_at_once_from_one_model_as_each_would_alone(worker, client, connect):
    wanted = {number: (f"{TEXT} Number {number}.", {"model_id": TINY, "seed": 7}) for number in NUMBERS}
    alone = {number: samples(client.say(text, **options)) for number, (text, options) in wanted.items()}
    together = say_at_once(connect, worker, wanted)
    assert len(processes(worker)) == 1
    for number, audio in alone.items():
        assert len(together[number]) == len(audio)
        assert difference(together[number], audio) < ROUNDING


def test_a_client_that_leaves_in_the_middle_leaves_nothing(client):
    for _ in range(3):
        with client.session(TINY) as session_id:
            call = client.open(session_id, TEXT * 5)
            next(call)
            call.cancel()
    check_frames(client.say(TEXT, model_id=TINY))
    eventually(lambda: client.metric("active_syntheses") == 0)


def test_who_speaks_while_its_process_dies_is_told_and_speaks_again(worker, client):
    with client.session(TINY) as session_id:
        call = client.open(session_id, TEXT * 20)
        next(call)
        (child,) = processes(worker)
        child.send_signal(signal.SIGKILL)
        code, text = refused(call)
        assert code == grpc.StatusCode.UNAVAILABLE
        assert f"the engine of {TINY} was killed by SIGKILL" in text
        check_frames(client.speak(session_id, TEXT), session_id)


def test_it_is_evicted_and_comes_back(start_worker, connect, settings):
    worker = start_worker(**settings, model_manager__ttl_ms=500, model_manager__warmup_enabled="false")
    client = connect(worker)
    for _ in range(2):
        check_frames(client.say(TEXT, model_id=TINY))
        eventually(lambda: client.models()[TINY].metadata["state"] == "absent")
        assert not processes(worker)
    told = worker.lines("model unloaded", model_id=TINY, cause="ttl")
    assert len(told) == 2
    assert all(line["bytes_back"] > 100e6 for line in told), "a process gives back all that it had"
    assert worker.stop() == 0
