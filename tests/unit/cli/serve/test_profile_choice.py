"""Which profile a server runs by, and what it says of it."""

from datetime import UTC, datetime

import pytest
import structlog

from ttsw.cli.serve import profile_choice as module
from ttsw.cli.serve.profile_choice import choose_profile, refuse_mismatch
from ttsw.config import load_config
from ttsw.errors import FailedPreconditionError, NotFoundError
from ttsw.profiles.schema import DerivedSettings, DeviceFacts, ModelFacts, Profile
from ttsw.profiles.writer import write_profile
from ttsw.testing import FakeDevice

MB = 1_000_000


@pytest.fixture
def environ(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return {"XDG_DATA_HOME": str(tmp_path / "data")}


@pytest.fixture
def write(tmp_path):
    """Writes a profile into the user's own folder."""

    def write(name, device, sessions=9, **more):
        derived = DerivedSettings(
            headroom_mb=100, budget_mb=900, resident_cap=5, mixed_sessions=6, margin=1.0, sessions={"mock-440hz": 9}
        )
        profile = Profile(
            name=name,
            provenance="measured",
            date=datetime(2026, 1, 1, tzinfo=UTC),
            device=device,
            models={"mock-440hz": ModelFacts(family="mock", size_mb=1, peak_mb=1, sessions=sessions, **more)},
            derived=derived,
        )
        folder = tmp_path / "data" / "ttsw" / "profiles"
        folder.mkdir(parents=True, exist_ok=True)
        write_profile(profile, folder / f"{name}.yaml")
        return profile

    return write


def gpu(name="Small GPU", **more):
    return DeviceFacts(kind="gpu", name=name, memory_mb=1_000, **more)


def device(number, name="Small GPU", total_mb=1_000):
    made = FakeDevice("cpu" if number is None else f"cuda:{number}", total_mb * MB)
    made.name = name
    return made


CPU = device(None, "Some CPU", 8_000)
CPU_FACTS = DeviceFacts(kind="cpu", name="Some CPU", memory_mb=8_000, cores=module.cores())
CONFIG = load_config(None, {}, {"model_manager.default_model_id": "mock-440hz"})


def test_a_named_profile_sets_the_budgets_of_the_devices_that_it_is_of(environ, write):
    write("small", gpu())
    chosen = choose_profile("small", CONFIG, environ, [CPU, device(0), device(1, "Other GPU"), device(2)])
    assert not chosen.mismatches
    config = load_config(None, {}, {}, dict(chosen.settings)).model_manager
    assert dict(config.memory_budget_mb) == {"cuda:0": 900, "cuda:2": 900}
    assert (config.memory_headroom_mb, config.resident_cap, config.mixed_sessions) == (100, 5, 6)
    assert dict(config.max_sessions) == {"mock-440hz": 9}
    refuse_mismatch(chosen)


def test_environment_and_flags_win_over_a_profile_and_a_profile_over_a_file(environ, write, tmp_path):
    write("small", gpu())
    chosen = choose_profile("small", CONFIG, environ, [CPU, device(0)])
    file = tmp_path / "worker.yaml"
    file.write_text("model_manager: {resident_cap: 1, mixed_sessions: 1, memory_headroom_mb: 1}\n")
    variables = {"TTSW_MODEL_MANAGER__MIXED_SESSIONS": "2"}
    flags = {"model_manager.memory_headroom_mb": 3}
    config = load_config(file, variables, flags, dict(chosen.settings)).model_manager
    assert (config.resident_cap, config.mixed_sessions, config.memory_headroom_mb) == (5, 2, 3)


def test_a_gpus_profile_sets_nothing_of_the_cpu_and_is_gravely_amiss_there(environ, write):
    write("small", gpu())
    chosen = choose_profile("small", CONFIG, environ, [CPU])
    assert not any("memory_budget_mb" in key for key in chosen.settings)
    assert chosen.mismatches[0].gravity == "grave"
    with pytest.raises(FailedPreconditionError, match="--strict-profile: the profile small is of Small GPU"):
        refuse_mismatch(chosen)


def test_auto_takes_what_fits_the_first_gpu_else_the_cpu_else_nothing(environ, write, monkeypatch):
    monkeypatch.setattr(module, "cores", lambda: 2)
    write("small", gpu())
    write("mine", DeviceFacts(kind="cpu", name="Some CPU", memory_mb=8_000, cores=2))
    assert choose_profile("auto", CONFIG, environ, [CPU, device(0)]).profile.name == "small"
    assert choose_profile("auto", CONFIG, environ, [CPU]).profile.name == "mine"
    none = choose_profile("auto", CONFIG, environ, [device(None, "Another CPU")])
    assert (none.profile, dict(none.settings)) == (None, {})
    with pytest.raises(FailedPreconditionError, match="no profile fits cpu"):
        refuse_mismatch(none)


def test_only_gpus_that_models_may_be_on_count(environ, write):
    write("small", gpu())
    config = load_config(None, {}, {"model_manager.gpus": [1]})
    chosen = choose_profile("small", config, environ, [CPU, device(0), device(1)])
    assert list(chosen.devices) == ["cuda:1"]


def test_other_files_of_a_model_are_a_warning(environ, write, monkeypatch):
    write("small", gpu(), digest="a" * 64)
    book = {"mock-440hz": type("Record", (), {"digest": "b" * 64})}
    monkeypatch.setattr(module, "open_measurements", lambda _: book)
    chosen = choose_profile("small", CONFIG, environ, [device(0)])
    (found,) = chosen.mismatches
    assert found.gravity == "warning"
    assert "files of the model mock-440hz aren't those that were measured" in found.text


def test_an_interrupted_measurement_is_never_run_by(environ, write, tmp_path):
    profile = write("whole", CPU_FACTS)
    folder = tmp_path / "data" / "ttsw" / "profiles"
    write_profile(profile.model_copy(update={"provenance": "partial"}), folder / "whole.partial.yaml")
    (folder / "whole.yaml").unlink()
    for named in ("whole.partial", str(folder / "whole.partial.yaml")):
        with pytest.raises(FailedPreconditionError, match="is partial: its measurement was interrupted"):
            choose_profile(named, load_config(None, {}, {}), environ, [CPU])
    assert choose_profile("auto", load_config(None, {}, {}), environ, [CPU]).profile is None


def test_a_profile_that_is_not_there(environ):
    with pytest.raises(NotFoundError, match="no profile 'tiny'"):
        choose_profile("tiny", CONFIG, environ, [CPU])


def test_a_model_that_is_too_slow_for_one_session_is_named_at_the_start(environ, write):
    write("small", gpu(), sessions=0)
    with structlog.testing.capture_logs() as lines:
        choose_profile("small", CONFIG, environ, [device(0)]).announce()
    (line,) = (each for each in lines if each["event"] == "too slow")
    assert (line["models"], line["log_level"]) == (["mock-440hz"], "warning")
