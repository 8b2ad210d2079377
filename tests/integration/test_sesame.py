"""Sesame's CSM as a user has it: many LoRA voices on one model in one process. Tiny weights."""

import json
import signal
import time

import grpc
import numpy as np
import pytest
import soundfile

from tests.integration.support import PAUSE, RESUME, STOP, check_frames, eventually, refused
from tests.integration.tiny import ROUNDING, build, difference, processes, samples, say_at_once, ttsw
from ttsw.fronts.abi.generated.tts import ErrorCode

BASE = "sesame-tiny"
VOICES = ("anna", "bert", "carl")
TEXT = "The birch canoe slid on the smooth planks."

BUILD = """
builder.build(base, "tiny")
for seed, name in enumerate(("anna", "bert", "carl"), 1):
    builder.build_lora(loras / name, base, seed=seed)
    (loras / name / "metadata.yaml").unlink()
builder.build_merged(loras / "merged", base, seed=1)
(loras / "merged" / "metadata.yaml").unlink()
builder.build_lora(loras / "foreign", base)
(loras / "foreign" / "metadata.yaml").unlink()
config = loras / "foreign" / "adapter_config.json"
config.write_text(config.read_text().replace('"r": 4', '"r": 3'))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A base's pack in a folder of packs, and what training left elsewhere."""
    root = tmp_path_factory.mktemp("trained")
    build("sesame", BUILD, base=root / "packs" / "sesame" / "tiny", loras=root / "loras")
    return root


@pytest.fixture(scope="module")
def packs(trained):
    """The folder of packs, with the LoRA voices and the merged model added as a user does."""
    packs = trained / "packs"
    for name in (*VOICES, "merged", "foreign"):
        added = ttsw(
            *("voices", "add", trained / "loras" / name, "--no-check", "--base", BASE),
            TTSW_MODEL_MANAGER__VOICEPACKS_DIR=packs,
        )
        assert f"sesame-{name}: added" in added.stdout
    return packs


@pytest.fixture(scope="module")
def settings(packs, tmp_path_factory):
    return {
        "model_manager__voicepacks_dir": packs,
        "model_manager__state_dir": tmp_path_factory.mktemp("state"),
        "model_manager__min_residency_ms": 0,
        "model_manager__evict_check_interval_ms": 200,
        "engines__sesame__device": "cpu",
    }


@pytest.fixture(scope="module")
def worker(start_worker, settings):
    return start_worker(**settings, model_manager__warmup_enabled="false")  # a calibration takes 10 s of speech


@pytest.fixture
def client(worker, connect):
    return connect(worker)


@pytest.fixture
def recording(tmp_path):
    time_s = np.arange(2 * 24_000) / 24_000
    phase = 2 * np.pi * np.cumsum(180 + 40 * np.sin(2 * np.pi * 0.9 * time_s)) / 24_000
    path = tmp_path / "dora.wav"
    soundfile.write(path, 0.2 * np.sin(phase), 24_000, subtype="PCM_16")
    return path


def test_it_is_spoken_with_through_serve_and_say(worker, tmp_path):
    out = tmp_path / "out.wav"
    ttsw("say", TEXT, "--addr", worker.address, "--model", "sesame-anna", "-O", "seed=1", "-o", out)
    audio, rate = soundfile.read(out)
    assert rate == 48_000
    assert 0.3 < len(audio) / rate < 30
    assert np.abs(audio).max() > 0.01


def test_three_voices_and_their_base_speak_at_once_from_one_process(worker, client, connect):
    models = [BASE, *(f"sesame-{name}" for name in VOICES)]
    wanted = {model_id: (TEXT, {"model_id": model_id, "seed": 7}) for model_id in models}
    alone = {model_id: samples(client.say(text, **options)) for model_id, (text, options) in wanted.items()}
    together = say_at_once(connect, worker, wanted)
    assert len(processes(worker)) == 1
    told = client.models()
    assert {told[model_id].metadata["pid"] for model_id in models} == {str(processes(worker)[0].pid)}
    for model_id, audio in alone.items():
        assert len(together[model_id]) == len(audio)
        assert difference(together[model_id], audio) < ROUNDING
    for one, other in ((BASE, "sesame-anna"), ("sesame-anna", "sesame-bert"), ("sesame-bert", "sesame-carl")):
        assert difference(alone[one], alone[other]) > 5 * ROUNDING, "a voice of its own"


def test_a_merged_model_speaks_as_its_base_with_the_lora(client):
    lora, merged = (samples(client.say(TEXT, model_id=f"sesame-{name}", seed=3)) for name in ("anna", "merged"))
    assert client.unload("sesame-merged").success
    assert len(lora) == len(merged)
    assert difference(lora, merged) < ROUNDING


def test_what_it_can_do_is_told(client):
    told = client.models()
    assert told["sesame-anna"].metadata["base"] == BASE
    for model_id in (BASE, "sesame-anna"):
        assert {"streaming", "lora"} <= set(told[model_id].metadata["capabilities"].split(","))
        assert list(told[model_id].languages) == ["en"]
    capabilities = client.capabilities().capabilities
    assert capabilities.lora
    assert capabilities.cpu_ok


def test_a_voice_costs_little_beside_its_base_and_no_reload_of_it(worker, client):
    client.say(TEXT, model_id="sesame-anna")
    (process,) = processes(worker)
    assert client.unload("sesame-anna").success
    client.say(TEXT, model_id="sesame-anna")
    assert processes(worker) == [process]
    told = client.models()
    assert float(told["sesame-anna"].metadata["size_mb"]) < 50
    refusal = client.unload("sesame-none")
    assert refusal.error == ErrorCode.NOT_FOUND


def test_a_session_goes_on_from_what_it_has_said(client):
    with client.session(BASE, seed=1) as session_id:
        first, again = (samples(client.speak(session_id, TEXT)) for _ in range(2))
    with client.session(BASE, seed=1) as session_id:
        fresh = samples(client.speak(session_id, TEXT))
    with client.session(BASE, seed=1, context_turns=0) as session_id:
        forgetful = [samples(client.speak(session_id, TEXT)) for _ in range(2)]
    assert difference(first, fresh) < ROUNDING, "a new session knows nothing of an old one"
    assert difference(forgetful[0], forgetful[1]) < ROUNDING
    assert len(first) != len(again) or difference(first, again) > ROUNDING


def test_it_sounds_like_a_recording_whose_words_are_known(client, recording):
    ttsw("voices", "clone", "mute", recording)
    answer = client.try_start("a", BASE, reference_audio="mute")
    assert answer.error == ErrorCode.INVALID_ARGUMENT
    assert "what is said in mute.wav isn't known" in answer.message
    ttsw("voices", "clone", "dora", recording, "--transcript", "Ob blond oder braun.")
    own = samples(client.say(TEXT, model_id=BASE, seed=3))
    other = samples(client.say(TEXT, model_id=BASE, seed=3, reference_audio="dora"))
    assert len(own) != len(other) or difference(own, other) > ROUNDING


def test_text_is_spoken_as_it_comes(client):
    words = [f"{word} " for word in f"{TEXT} {TEXT}".split()]
    with client.session(BASE, text_mode="tokens", seed=1) as session_id:
        check_frames(client.speak(session_id, *words), session_id)


def test_it_pauses_goes_on_and_stops(client):
    with client.session("sesame-anna", seed=1, context_turns=0) as session_id:
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


def test_a_client_that_leaves_in_the_middle_leaves_nothing(worker, client, connect):
    for _ in range(3):
        with client.session(BASE) as session_id:
            call = client.open(session_id, TEXT * 5)
            next(call)
            call.cancel()
    check_frames(client.say(TEXT, model_id=BASE))
    assert client.capabilities().metrics["active_syntheses"] == 0


def test_a_lora_of_another_rank_is_refused_and_harms_nobody(client):
    answer = client.load("sesame-foreign")
    assert not answer.success
    assert "adapter_model.safetensors" in answer.message
    check_frames(client.say(TEXT, model_id="sesame-anna"))


def test_a_folder_that_is_neither_is_refused(tmp_path):
    (tmp_path / "neither").mkdir()
    (tmp_path / "neither" / "config.json").write_text(json.dumps({"model_type": "llama"}))
    told = ttsw("voices", "add", tmp_path / "neither", "--id", "x", code=1).stderr
    assert "no fine-tuned CSM" in " ".join(told.split())


def test_who_speaks_while_the_process_dies_is_told_and_speaks_again(worker, client):
    with client.session("sesame-bert") as session_id:
        call = client.open(session_id, TEXT * 20)
        next(call)
        (child,) = processes(worker)
        child.send_signal(signal.SIGKILL)
        code, text = refused(call)
        assert code == grpc.StatusCode.UNAVAILABLE
        assert f"the engine of {BASE} was killed by SIGKILL" in text
        check_frames(client.speak(session_id, TEXT), session_id)


def test_all_are_evicted_and_come_back(start_worker, connect, settings):
    worker = start_worker(**settings, model_manager__ttl_ms=500, model_manager__warmup_enabled="false")
    client = connect(worker)
    for _ in range(2):
        for model_id in (BASE, "sesame-anna", "sesame-bert"):
            check_frames(client.say(TEXT, model_id=model_id))
        eventually(lambda: client.models()[BASE].metadata["state"] == "absent")
        assert not processes(worker)
    assert len(worker.lines("model unloaded", model_id=BASE, cause="ttl")) == 2
    assert worker.stop() == 0
