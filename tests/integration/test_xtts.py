"""XTTS-v2 as a user has it: a voice pack, its own environment, a process, a recording to sound like. Tiny weights."""

import os
import pickle
import shutil
import signal
import time

import grpc
import numpy as np
import pytest
import soundfile

from tests.integration.support import PAUSE, RESUME, STOP, check_frames, eventually, refused
from tests.integration.tiny import ROUNDING, build, difference, processes, samples, say_at_once, ttsw
from ttsw.fronts.abi.generated.tts import ErrorCode

TINY = "xtts-v2-tiny"
TEXT = "The birch canoe slid on the smooth planks."
NUMBERS = ("one", "two", "three", "four")


@pytest.fixture(scope="module")
def packs(tmp_path_factory):
    """A folder with the voice pack `xtts-v2-tiny`, made by the library's own classes."""
    root = tmp_path_factory.mktemp("packs")
    build("xtts-v2", "builder.build(folder, 'tiny')", folder=root / "xtts-v2" / "tiny")
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
    """A recording of somebody, so to speak: harmonics of a pitch that wanders."""
    time_s = np.arange(6 * 24_000) / 24_000
    phase = 2 * np.pi * np.cumsum(180 + 40 * np.sin(2 * np.pi * 0.9 * time_s)) / 24_000
    tone = sum(np.sin(number * phase) / number for number in range(1, 20)) * (np.sin(2 * np.pi * 1.7 * time_s) > -0.4)
    path = tmp_path / "anna.wav"
    soundfile.write(path, 0.2 * tone, 24_000, subtype="PCM_16")
    return path


def test_it_is_spoken_with_through_serve_and_say(worker, tmp_path):
    out = tmp_path / "out.wav"
    ttsw("say", TEXT, "--addr", worker.address, "--model", TINY, "-O", "seed=1", "-O", "language=en", "-o", out)
    audio, rate = soundfile.read(out)
    assert rate == 48_000
    assert 0.5 < len(audio) / rate < 30
    assert np.abs(audio).max() > 0.01


def test_it_sounds_like_the_recording_that_it_is_shown(worker, client, recording):
    said = ttsw("voices", "clone", "anna", recording).stdout
    assert "anna: 6.0 s at 24000 Hz" in said
    own = samples(client.say(TEXT, model_id=TINY, seed=3))
    again = samples(client.say(TEXT, model_id=TINY, seed=3, reference_audio="ref/seed.wav"))
    other = samples(client.say(TEXT, model_id=TINY, seed=3, reference_audio="anna"))
    assert difference(own, again) < 1e-3, "the pack's own is the default"
    assert difference(own, other) > 5e-3, "random weights make little of it, but something"


def test_a_recording_that_cant_be_cloned_is_refused_when_the_session_starts(client, recording, tmp_path):
    answer = client.try_start("a", TINY, reference_audio="nobody")
    assert answer.error == ErrorCode.NOT_FOUND
    assert "nobody" in answer.message
    for path in ("/etc/passwd", "../../secret.wav", "ref/../../secret.wav"):
        assert not client.try_start("a", TINY, reference_audio=path).success
    audio, rate = soundfile.read(recording)
    short = tmp_path / "short.wav"
    soundfile.write(short, audio[: rate // 5], rate)
    told = ttsw("voices", "clone", "short", short, code=1).stderr
    assert "0.20 s, which is too short; use 6 to 30 s of clear speech" in " ".join(told.split())
    answer = client.try_start("a", TINY, language="xx")
    assert answer.error == ErrorCode.INVALID_ARGUMENT
    assert "language='xx'" in answer.message
    answer = client.try_start("a", TINY, temperature=9)
    assert answer.error == ErrorCode.INVALID_ARGUMENT
    check_frames(client.say(TEXT, model_id=TINY))


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
    worker = start_worker(**settings, model_manager__ttl_ms=500)
    client = connect(worker)
    for _ in range(2):
        check_frames(client.say(TEXT, model_id=TINY))
        eventually(lambda: client.models()[TINY].metadata["state"] == "absent")
        assert not processes(worker)
    told = worker.lines("model unloaded", model_id=TINY, cause="ttl")
    assert len(told) == 2
    assert all(line["bytes_back"] > 100e6 for line in told), "a process gives back all that it had"
    assert worker.stop() == 0


class Trap:
    """Leaves a file behind if it is ever unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_checkpoint_with_code_in_it_is_refused_and_the_code_not_run(client, packs, tmp_path):
    pack = packs / "xtts-v2" / "trap"
    shutil.copytree(packs / "xtts-v2" / "tiny", pack)
    metadata = pack / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("model_id: tiny", "model_id: trap"))
    (pack / "model.pth").write_bytes(pickle.dumps({"model": Trap(tmp_path / "sprung")}))
    answer = client.load("xtts-v2-trap")
    assert not answer.success
    assert "model.pth" in answer.message
    assert not (tmp_path / "sprung").exists()
    check_frames(client.say(TEXT, model_id=TINY))
