"""A worker that runs by a profile, and one whose device is simulated."""

import signal
import subprocess

import pytest
import yaml

from tests.integration.support import TTSW, check_frames, clean_environment, eventually, serve_in_vain
from ttsw.fronts.abi.generated.tts import ErrorCode
from ttsw.profiles.files import find_profile, read_profile
from ttsw.profiles.schema import Profile

TEXT = "The birch canoe slid on the smooth planks."


@pytest.fixture
def profile(tmp_path):
    """Writes a profile of a small GPU with the models f-a, f-b and f-c."""

    def write(name="small", **models):
        facts = {"family": "f", "size_mb": 4_000, "peak_mb": 5_000, "bound": "continuity"}
        known = {
            f"f-{key}": facts | {"sessions": sessions, "load": {"load_s": dict(ONE)}}
            for key, sessions in ({"a": 4, "b": 2, "c": 2} | models).items()
        }
        path = tmp_path / f"{name}.yaml"
        derived = {
            "headroom_mb": 500,
            "budget_mb": 11_500,
            "resident_cap": 2,
            "sessions": {key: each["sessions"] for key, each in known.items()},
            "mixed_sessions": 3,
            "margin": 1.0,
        }
        tree = {
            "format": 1,
            "name": name,
            "provenance": "estimated",
            "date": "2026-11-22T00:00:00+00:00",
            "device": {"kind": "gpu", "name": "Small GPU", "memory_mb": 12_000},
            "models": known,
            "derived": derived,
        }
        path.write_text(yaml.safe_dump(tree))
        assert isinstance(read_profile(path), Profile)
        return path

    return write


ONE = {"median": 0.2, "low": 0.2, "high": 0.2, "n": 1}


def told(worker, event):
    return [line for line in worker.lines() if line.get("event") == event]


def test_a_shipped_profile_of_another_device_is_run_by_and_says_what_it_is(start_worker, connect):
    worker = start_worker("--adapter", "mock", "--profile", "rtx4090")
    (line,) = told(worker, "profile")
    assert (line["name"], line["provenance"]) == ("rtx4090", "estimated")
    assert "estimated from published specifications" in line["note"]
    grave = [line["what"] for line in told(worker, "profile mismatch") if line["gravity"] == "grave"]
    assert any("is of NVIDIA GeForce RTX 4090, and this is" in what for what in grave)
    check_frames(connect(worker).say(TEXT))


def test_without_one_the_worker_says_so(start_worker):
    worker = start_worker()
    (line,) = told(worker, "no profile")
    assert "ttsw bench measures" in line["mend"]


def test_a_strict_worker_does_not_run_by_a_profile_of_another_device():
    said = serve_in_vain("--profile", "rtx4090", "--strict-profile")
    assert "--strict-profile: the profile rtx4090 is of NVIDIA GeForce RTX 4090, and this is" in said


def test_a_profile_that_is_not_there():
    said = serve_in_vain("--profile", "rtx4091")
    assert "no profile 'rtx4091'; did you mean rtx4090? there are:" in said


def test_a_simulated_device_admits_by_its_profile_and_refuses_with_a_reason(start_worker, connect, profile):
    path = profile()
    worker = start_worker("--simulate", path, "--profile", path)
    client = connect(worker)
    assert client.capabilities().capabilities.max_concurrent_sessions == 4
    models = client.models()
    assert {name: models[name].metadata["max_sessions"] for name in models} == {"f-a": "4", "f-b": "2", "f-c": "2"}
    for number in range(4):
        client.start(f"a{number}", "f-a")
    answer = client.try_start("one more", "f-a")
    assert answer.error == ErrorCode.RESOURCE_EXHAUSTED
    assert "all 4 sessions of f-a are taken" in answer.message
    assert "try again in about" in answer.message
    for number in range(2):
        client.end(f"a{number}")
    client.start("b0", "f-b")
    answer = client.try_start("b1", "f-b")
    assert "the worker is full: 2 on f-a, 1 on f-b; alone, f-b would have 2" in answer.message
    check_frames(client.speak("a2", TEXT), "a2")


def test_simulated_models_come_and_go_by_the_memory_of_the_device(start_worker, connect, profile):
    worker = start_worker("--simulate", profile(), "--profile", profile(), model_manager__min_residency_ms=0)
    client = connect(worker)
    assert client.models()["f-a"].metadata["device"] == "cuda:0"
    for name in ("f-b", "f-c"):
        check_frames(client.say(TEXT, model_id=name))
    states = {name: model.metadata["state"] for name, model in client.models().items()}
    assert states == {"f-a": "ready", "f-b": "absent", "f-c": "ready"}, "two fit, and the default stays"
    eventually(lambda: client.metric("device_memory_used_mb") == 8_000)
    assert client.metric("device_memory_total_mb") == 12_000


def test_a_measured_profile_takes_what_it_says_and_refuses_half_as_many_more(start_worker, connect):
    limit = read_profile(find_profile("cpu-2core", {})).derived.sessions["hibari-heart"]
    worker = start_worker("--adapter", "hibari", "--profile", "cpu-2core")
    (line,) = told(worker, "profile")
    assert line["provenance"] == "measured"
    client = connect(worker)
    answers = [client.try_start(f"s{number}", "") for number in range(limit + limit // 2)]
    assert [answer.success for answer in answers] == [True] * limit + [False] * (limit // 2)
    assert {answer.error for answer in answers[limit:]} == {ErrorCode.RESOURCE_EXHAUSTED}
    check_frames(client.speak("s0", TEXT), "s0")


def test_a_measurement_that_is_interrupted_is_no_profile_to_run_by(tmp_path):
    """SIGTERM after some seconds: what is measured is kept under another name, which no server takes."""
    environment = clean_environment(XDG_DATA_HOME=str(tmp_path), XDG_STATE_HOME=str(tmp_path))
    ours = tmp_path / "ttsw" / "profiles"
    line = [*TTSW, "bench", "--cpu", "--quick", "--model", "mock-440hz", "--out", str(ours / "mine.yaml")]
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment) as bench:
        said = []
        for each in bench.stderr:
            said.append(each)
            if "sessions" in each:  # there are figures
                bench.send_signal(signal.SIGTERM)
                break
        said.append(bench.stderr.read())
    assert bench.returncode == 130, said
    assert [each.name for each in ours.iterdir()] == ["mine.partial.yaml"]
    assert "mine.partial.yaml has the figures until then; no server runs by it" in said[-1]
    told = serve_in_vain("--profile", "mine.partial", **{name: environment[name] for name in ("XDG_DATA_HOME",)})
    assert "is partial: its measurement was interrupted" in told
