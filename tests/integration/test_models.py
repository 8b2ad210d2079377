"""Models come and go, as a client sees it: packs, loads, evictions, memory, two voices at once."""

import itertools
import os
import re
import resource
import shutil
import threading
from pathlib import Path

import grpc
import pytest

from tests.integration.support import STOP, check_frames, eventually, pcm, refused
from ttsw.fronts.abi.generated.tts import ErrorCode
from ttsw.packs.catalogue import open_catalogue

MOCK = """\
family: mock
model_id: {name}
languages: [en]
audio: {{sample_rate: 24000}}
options: {options}
"""


def write_mock(folder: Path, name: str, **options: object) -> str:
    """Write the pack of a mock voice; returns its id."""
    pack = folder / "mock" / name
    pack.mkdir(parents=True, exist_ok=True)
    text = "{" + ", ".join(f"{key}: {value}" for key, value in options.items()) + "}"
    (pack / "metadata.yaml").write_text(MOCK.format(name=name, options=text), "utf-8")
    return f"mock-{name}"


@pytest.fixture
def packs(tmp_path):
    return tmp_path / "voicepacks"


@pytest.fixture
def start(start_worker, connect, packs, tmp_path):
    """Start workers on these packs, with a state folder of their own that outlasts them; they stop with the test."""
    workers = []

    def start(**settings):
        settings = {
            "model_manager__voicepacks_dir": packs,
            "model_manager__state_dir": tmp_path / "state",
            "model_manager__evict_check_interval_ms": 100,
            "model_manager__min_residency_ms": 0,
            "model_manager__warmup_enabled": "false",
        } | settings
        workers.append(start_worker(**settings))
        return workers[-1], connect(workers[-1])

    yield start
    for worker in workers:
        if worker.process.poll() is None:
            assert worker.stop() == 0


def state(client, model_id):
    return client.models()[model_id].metadata["state"]


def joe():
    pytest.importorskip("piper", reason="the voice comes with the extra `piper`, which is not installed")
    return open_catalogue(None, os.environ).catalogue["piper-en-us-joe-medium"]


def test_a_piper_voice_added_by_hand_is_listed_loaded_spoken_with_and_evicted(start, packs):
    worker, client = start(model_manager__ttl_ms=1_500, model_manager__warmup_enabled="true")
    pack = packs / "piper" / "my-joe"
    pack.mkdir(parents=True)
    for role, path in joe().files.items():
        shutil.copy(path, pack / role)
    (pack / "metadata.yaml").write_text(
        "family: piper\nmodel_id: my-joe\nlanguages: [en]\naudio: {sample_rate: 22050}\nlicense: CC0-1.0\n", "utf-8"
    )
    assert state(client, "piper-my-joe") == "absent", "it is seen without a restart"
    loaded = client.load("piper-my-joe")
    assert loaded.success, loaded.message
    told = client.models()["piper-my-joe"].metadata
    assert (told["state"], told["license"], told["device"], told["leases"]) == ("ready", "CC0-1.0", "cpu", "0")
    assert 50 < float(told["size_mb"]) < 400
    with client.session("piper-my-joe", pacing="fast") as session_id:
        check_frames(client.speak(session_id, "Spoken by a voice that was added by hand."), session_id)
        assert client.models()["piper-my-joe"].metadata["leases"] == "1"
    eventually(lambda: state(client, "piper-my-joe") == "absent")
    assert worker.lines("model unloaded", model_id="piper-my-joe", cause="ttl")
    assert client.models()["mock-440hz"].is_loaded, "the default model is kept"


def test_under_a_small_budget_the_least_recently_used_goes_and_a_restart_knows_the_sizes(start, packs):
    big = [write_mock(packs, name, size_mb=100) for name in ("a", "b", "c")]
    budget = {"model_manager__memory_budget_mb__cpu": 250}
    worker, client = start(**budget)
    for model_id in big:
        assert client.load(model_id).success
    assert [state(client, model_id) for model_id in big] == ["absent", "ready", "ready"]
    assert worker.lines("model unloaded", model_id=big[0])[0]["cause"] in {"room", "pressure"}
    assert 95 < float(client.models()[big[1]].metadata["size_mb"]) < 120
    assert client.capabilities().metrics["models_memory_mb"] == pytest.approx(200, abs=30)
    worker.process.kill()
    worker.process.wait()

    worker, client = start(model_manager__memory_budget_mb__cpu=90)
    answer = client.load(big[0])
    assert answer.error == ErrorCode.RESOURCE_EXHAUSTED
    assert "it needs 10" in answer.message, "the pack's metadata says nothing of its size"
    assert "on cpu, where" in answer.message
    assert "free; cpu is held by mock-440hz" in answer.message


def test_what_is_in_use_stays_and_the_refusal_says_by_whom(start, packs):
    first, second = (write_mock(packs, name, size_mb=50) for name in ("a", "b"))
    _, client = start(model_manager__resident_cap=2)
    with client.session(first) as session_id:
        answer = client.try_start("other", second)
        assert answer.error == ErrorCode.RESOURCE_EXHAUSTED
        assert "resident_cap is 2" in answer.message
        assert f"{first} (" in answer.message
        assert f"in use by session {session_id}" in answer.message
        assert "mock-440hz (0 MB, pinned, goes by UnloadModel only)" in answer.message
    eventually(lambda: client.load(second).success)
    assert state(client, first) == "absent"


def test_loaded_ahead_it_takes_free_room_only(start, packs):
    first, second = (write_mock(packs, name) for name in ("a", "b"))
    _, client = start(model_manager__resident_cap=2)
    assert client.load(first, preload_only=True).success
    answer = client.load(second, preload_only=True)
    assert answer.error == ErrorCode.RESOURCE_EXHAUSTED
    assert "may not evict others" in answer.message
    assert client.load(second).success


def test_two_voices_speak_at_once(start):
    joe()
    pytest.importorskip("hibari", reason="the voice comes with the extra `hibari`, which is not installed")
    _, client = start()
    voices = ("piper-en-us-joe-medium", "hibari-heart")
    text = "Two voices speak at once from one worker."
    alone = {model_id: pcm(client.say(text, model_id=model_id, seed=7)) for model_id in voices}
    together: dict[str, bytes] = {}

    def speak(model_id):
        together[model_id] = pcm(client.say(text, model_id=model_id, seed=7))

    threads = [threading.Thread(target=speak, args=(model_id,)) for model_id in voices]  # noqa: TID251 - two clients
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert together == alone
    assert set(client.capabilities().resident_models) >= set(voices)


def test_by_force_a_model_in_use_goes_when_it_has_spoken_and_comes_back_when_needed(start, packs):
    model_id = write_mock(packs, "a")
    worker, client = start()
    with client.session(model_id, duration_ms=1_500) as speaking, client.session(model_id) as silent:
        call = client.open(speaking, "a")
        next(call)
        answer = client.unload(model_id)
        assert answer.error == ErrorCode.FAILED_PRECONDITION
        assert f"in use by session {speaking}, session {silent}" in answer.message
        assert client.unload(model_id, force="true").success
        assert state(client, model_id) == "absent"
        frames = list(call)
        assert frames[-1].is_final
        assert len(frames) == 74, "what was being said was said to its end"
        check_frames(client.speak(silent, "Loaded again for this."), silent)
    assert len(worker.lines("model loaded", model_id=model_id)) == 2


def test_an_unload_in_the_middle_of_a_load(start, packs):
    model_id = write_mock(packs, "slow", load_ms=600_000)
    _, client = start()
    answers = []
    thread = threading.Thread(target=lambda: answers.append(client.load(model_id)))  # noqa: TID251 - another client
    thread.start()
    eventually(lambda: state(client, model_id) == "loading")
    answer = client.unload(model_id)
    assert answer.error == ErrorCode.FAILED_PRECONDITION
    assert "being loaded for LoadModel" in answer.message
    assert client.unload(model_id, force="1").success
    thread.join(60)
    assert answers[0].error == ErrorCode.UNAVAILABLE
    assert state(client, model_id) == "absent"


def test_a_load_whose_only_client_has_left_goes_on(start, packs, connect):
    model_id = write_mock(packs, "slow", load_ms=700)
    worker, client = start()
    leaving = connect(worker)
    thread = threading.Thread(target=leave, args=(leaving, model_id))  # noqa: TID251 - another client
    thread.start()
    eventually(lambda: "device" in client.models()[model_id].metadata)  # it loads, and no longer waits in line
    leaving.close()
    thread.join(60)
    eventually(lambda: state(client, model_id) == "ready")


def leave(client, model_id):
    with pytest.raises(Exception, match=r"(?i)cancel|closed"):
        client.load(model_id)


def test_a_load_that_fails_harms_nobody_and_says_why(start, packs):
    """The rate in the metadata is a lie; the next pack's weights are cut short; the third's checksum is another's."""
    weights, config = (joe().files[role] for role in ("model.onnx", "config.json"))
    for name, rate, text in (("lie", 16_000, ""), ("cut", 22_050, ""), ("sha", 22_050, "x")):
        pack = packs / "piper" / name
        pack.mkdir(parents=True)
        shutil.copy(config, pack / "config.json")
        (pack / "model.onnx").write_bytes(weights.read_bytes()[: -1_000_000 if name == "cut" else None])
        checksum = f"files: {{model.onnx: {{path: model.onnx, sha256: {'a' * 64}}}}}\n" if text else ""
        metadata = f"family: piper\nmodel_id: {name}\naudio: {{sample_rate: {rate}}}\n{checksum}"
        (pack / "metadata.yaml").write_text(metadata, "utf-8")
    _, client = start()
    with client.session(duration_ms=3_000) as session_id:
        call = client.open(session_id, "a")
        frames = list(itertools.islice(call, 5))
        for name, fault in (("lie", "16000 Hz, but"), ("cut", "model.onnx"), ("sha", "its sha256 is")):
            answer = client.load(f"piper-{name}")
            assert answer.error == ErrorCode.UNAVAILABLE
            assert fault in answer.message
            told = client.models()[f"piper-{name}"].metadata
            assert told["state"] == "failed"
            assert fault in told["last_error"]
        frames += list(call)
    check_frames(frames)
    again = client.try_start("again", "piper-lie")
    assert again.error == ErrorCode.UNAVAILABLE


def test_a_pack_removed_while_it_is_loaded_speaks_on_until_it_is_unloaded(start, packs):
    model_id = write_mock(packs, "a")
    _, client = start()
    with client.session(model_id) as session_id:
        shutil.rmtree(packs / "mock" / "a")
        told = client.models()[model_id].metadata
        assert told["state"] == "ready"
        assert "its voice pack has been removed" in told["last_error"]
        check_frames(client.speak(session_id, "Still here."), session_id)
    eventually(lambda: client.unload(model_id).success)
    assert client.load(model_id).error == ErrorCode.NOT_FOUND
    assert model_id not in client.models()


def test_a_broken_pack_is_listed_with_its_fault(start, packs):
    write_mock(packs, "a")
    (packs / "mock" / "a" / "metadata.yaml").write_text("family: mock\nmodel_id: a\ncolour: red\n", "utf-8")
    for folder in ("a-b/c", "a/b-c"):
        (packs / folder).mkdir(parents=True)
        family, name = folder.split("/")
        (packs / folder / "metadata.yaml").write_text(
            f"family: {family}\nmodel_id: {name}\naudio: {{sample_rate: 24000}}\n", "utf-8"
        )
    _, client = start()
    models = client.models()
    assert models["mock-a"].metadata["state"] == "broken"
    assert "colour" in models["mock-a"].metadata["last_error"]
    assert "two packs have this id" in models["a-b-c"].metadata["last_error"]
    assert "colour" in client.load("mock-a").message
    assert models["piper-en-us-lessac-medium"].metadata["state"] == "incomplete"
    assert "ttsw voices pull" in client.load("piper-en-us-lessac-medium").message


@pytest.fixture
def limit_memory():
    """Let a worker have so much more memory than it has now, and no more, MB."""

    def limit(worker, more_mb):
        status = Path(f"/proc/{worker.process.pid}/status").read_text("ascii")
        now_kb = int(re.search(r"VmSize:\s+(\d+) kB", status)[1])
        bound = now_kb * 1024 + more_mb * 1_000_000
        resource.prlimit(worker.process.pid, resource.RLIMIT_AS, (bound, bound))

    return limit


def test_out_of_memory_while_loading(start, packs, limit_memory):
    """The packs say nothing of their sizes, so memory runs out: what is idle goes, and the load is tried once more."""
    idle, large, huge = (write_mock(packs, name, size_mb=size) for name, size in (("a", 350), ("b", 450), ("c", 1_500)))
    worker, client = start()
    assert client.load(idle).success
    limit_memory(worker, 250)
    answer = client.load(large)
    assert answer.success, answer.message
    assert worker.lines("model unloaded", model_id=idle, cause="out of memory")
    with client.session(large) as session_id:
        answer = client.load(huge)
        assert answer.error == ErrorCode.RESOURCE_EXHAUSTED
        assert "found no memory left" in answer.message
        assert f"cpu is held by {large} (4" in answer.message
        assert f"in use by session {session_id}" in answer.message
        check_frames(client.speak(session_id, "The worker lives on."), session_id)


def test_out_of_memory_while_speaking(start, packs, limit_memory):
    idle = write_mock(packs, "a", size_mb=350)
    hungry, greedy = write_mock(packs, "hungry", work_mb=450), write_mock(packs, "greedy", work_mb=1_500)
    worker, client = start()
    assert client.load(hungry).success
    assert client.load(greedy).success
    assert client.load(idle).success
    limit_memory(worker, 250)
    with client.session(hungry) as session_id:
        check_frames(client.speak(session_id, "Once what is idle has gone, there is room."), session_id)
        assert worker.lines("model unloaded", model_id=idle, cause="out of memory")
    with client.session(greedy) as session_id:
        code, message = refused(client.open(session_id, "For this there never is."))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "found no memory left" in message
    check_frames(client.say("The worker lives on."))


def test_a_session_goes_on_after_a_stop_while_its_model_is_asked_back(start, packs):
    model_id = write_mock(packs, "a")
    _, client = start()
    with client.session(model_id, duration_ms=60_000) as session_id:
        call = client.open(session_id, "a")
        next(call)
        unloading = threading.Thread(target=client.unload, args=(model_id,), kwargs={"force": "true"})  # noqa: TID251
        unloading.start()
        eventually(lambda: state(client, model_id) == "draining")
        client.control(session_id, STOP)
        assert list(call)[-1].is_final
        unloading.join(60)
        eventually(lambda: state(client, model_id) == "absent")
        call = client.open(session_id, "a")
        assert next(call).audio_data
        client.control(session_id, STOP)
        assert list(call)[-1].is_final
