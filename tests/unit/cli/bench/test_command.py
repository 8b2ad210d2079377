"""What `ttsw bench` refuses before it measures, what it shows, what it writes, how it exits."""

import json
import os
from datetime import UTC, datetime

import pytest
import typer
from typer.testing import CliRunner

import ttsw.cli.bench.command
import ttsw.cli.bench.files
from ttsw.cli.bench.command import Shown, bench, choose_plan, choose_slo, left_words, level_line, summary
from ttsw.cli.bench.files import check_target
from ttsw.cli.ui.console import err, out
from ttsw.errors import AlreadyExistsError, ConfigError, InvalidArgumentError, NotFoundError, UnavailableError
from ttsw.profiler.plans import FULL, NORMAL, QUICK
from ttsw.profiler.run import Measurement
from ttsw.profiles.derivation import derive
from ttsw.profiles.files import read_profile, write_profile
from ttsw.profiles.schema import DeviceFacts, LoadFacts, ModelFacts, Percentiles, Profile, SessionLevel, Spread

GOOD = SessionLevel(
    sessions=4,
    window_s=9.0,
    utterances=12,
    ttfa_ms=Percentiles(p50=90.0, p95=123.4, p99=140.0, n=12),
    rtf=Percentiles(p50=0.1, p95=0.2, p99=0.3, n=12),
    stop_ms=Percentiles(p50=3.0, p95=4.4, p99=5.0, n=2),
    c100=100.0,
    memory_mb=321.4,
    passed=True,
)
BAD = SessionLevel(sessions=5, window_s=9.0, utterances=3, passed=False, why="C100 [50] % is below 100 %")
ONE = Spread(median=1.5, low=1.0, high=2.0, n=3)
FACTS = ModelFacts(
    family="piper",
    size_mb=87.4,
    peak_mb=99.0,
    session_mb=ONE,
    load=LoadFacts(load_s=ONE),
    sessions=4,
    bound="continuity",
    sweep=(GOOD, BAD),
)


def make(**models):
    return Profile(
        name="test",
        provenance="measured",
        date=datetime.now(UTC),
        device=DeviceFacts(kind="cpu", name="Test", memory_mb=8_000.0, cores=2),
        models=models,
        derived=derive(models, 8_000.0),
        disturbances=("others took [90] % of the processor",),
    )


@pytest.fixture
def run(monkeypatch):
    """Run the command, and have a measurement that gives what it is told."""
    asked = {}

    def invoke(*arguments, gives=None):
        async def measure(target, models, **more):
            asked.update(target=target, models=models, **more)
            return gives

        monkeypatch.setattr(ttsw.cli.bench.command, "measure", measure)
        app = typer.Typer()
        app.command()(bench)
        return CliRunner().invoke(app, arguments), asked

    return invoke


def test_a_measurement_is_written_and_shown(run, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(out, "print", shown.append)
    file = tmp_path / "new" / "My CPU.yaml"
    given = make(a=FACTS)
    arguments = ("--cpu", "--quick", "--model", "mock-440hz", "--out", str(file), "--slo-ttfa-ms", "250")
    result, asked = run(*arguments, gives=Measurement(given, interrupted=False))
    assert result.exit_code == 0, result.output
    assert read_profile(file).models.keys() == {"a"}
    assert (asked["models"], asked["plan"], asked["slo"].ttfa_ms, asked["name"]) == (
        ["mock-440hz"],
        QUICK,
        250,
        "my-cpu",
    )
    assert asked["target"].gpu is None
    assert len(shown) == 1


def test_programs_get_json(run, tmp_path):
    file = tmp_path / "a.yaml"
    result, _ = run(
        "--cpu",
        "--model",
        "mock-440hz",
        "--out",
        str(file),
        "--json",
        gives=Measurement(make(a=FACTS), interrupted=False),
    )
    assert json.loads(result.stdout)["models"]["a"]["sessions"] == 4


def test_an_interruption_exits_130_with_what_there_is(run, tmp_path):
    file = tmp_path / "a.yaml"
    arguments = ("--cpu", "--model", "mock-440hz", "--out", str(file))
    result, _ = run(*arguments, gives=Measurement(None, interrupted=True))
    assert (result.exit_code, file.exists()) == (130, False)
    for _ in range(2):  # what is partial is replaced without a word
        part = make(a=FACTS).model_copy(update={"provenance": "partial"})
        result, _ = run(*arguments, gives=Measurement(part, interrupted=True))
        assert (result.exit_code, file.exists()) == (130, False)
        assert read_profile(tmp_path / "a.partial.yaml").provenance == "partial"


def test_a_profile_that_is_there_is_replaced_only_where_that_is_asked_for(run, tmp_path):
    file = tmp_path / "a.yaml"
    arguments = ("--cpu", "--model", "mock-440hz", "--out", str(file))
    file.write_text("something dear")
    result, asked = run(*arguments, gives=Measurement(make(a=FACTS), interrupted=False))
    assert isinstance(result.exception, AlreadyExistsError)
    assert "--replace replaces it" in str(result.exception)
    assert not asked, "nothing was measured"
    assert file.read_text() == "something dear"
    result, _ = run(*arguments, "--replace", gives=Measurement(make(a=FACTS), interrupted=False))
    assert result.exit_code == 0
    assert read_profile(file).models.keys() == {"a"}


def test_a_shipped_profile_is_shadowed_only_where_that_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    own = tmp_path / "ttsw" / "profiles" / "cpu-2core.yaml"
    with pytest.raises(AlreadyExistsError, match="a shipped profile has the name cpu-2core; --replace has yours"):
        check_target(own, replace=False)
    check_target(own, replace=True)
    check_target(own.with_name("another.yaml"), replace=False)
    check_target(tmp_path / "cpu-2core.yaml", replace=False)


@pytest.mark.parametrize("name", ["a.json", "a", "a.yml", "a.partial.yaml"])
def test_a_name_that_is_no_profiles_is_refused(tmp_path, name):
    with pytest.raises(InvalidArgumentError, match=r"a profile's name ends in \.yaml"):
        check_target(tmp_path / name, replace=False)


def test_what_cannot_be_written_in_the_end_is_told_on_stdout(run, tmp_path, monkeypatch):
    def refuse(*_):
        raise ConfigError("the disk is full")

    monkeypatch.setattr(ttsw.cli.bench.files, "write_profile", refuse)
    arguments = ("--cpu", "--model", "mock-440hz", "--out", str(tmp_path / "a.yaml"))
    result, _ = run(*arguments, gives=Measurement(make(a=FACTS), interrupted=False))
    assert "the disk is full" in str(result.exception)
    assert "provenance: measured" in result.stdout


def test_a_profile_may_be_simulated(run, tmp_path):
    given = make(a=FACTS, b=FACTS)
    write_profile(given, tmp_path / "sim.yaml")
    simulate = ("--simulate", str(tmp_path / "sim.yaml"), "--out", str(tmp_path / "found.yaml"))
    _, asked = run(*simulate, gives=Measurement(given, interrupted=False))
    assert asked["models"] == ["a", "b"]
    assert asked["target"].facts() == given.device
    assert asked["target"].simulate == tmp_path / "sim.yaml"
    result, _ = run(*simulate, "--model", "c")
    assert isinstance(result.exception, NotFoundError)
    assert "no model 'c' in the profile test; there are: a, b" in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "error", "word"),
    [
        (("--quick", "--full"), InvalidArgumentError, "--quick and --full are opposites"),
        (("--cpu", "--gpu", "0"), InvalidArgumentError, "give one of them"),
        (("--cpu", "--simulate", "x"), InvalidArgumentError, "give one of them"),
        (("--cpu", "--slo-ttfa-ms", "0"), InvalidArgumentError, "--slo-ttfa-ms must be more than 0"),
        (("--cpu", "--slo-ttfa-ms", "nan"), InvalidArgumentError, "--slo-ttfa-ms must be more than 0"),
        (("--cpu", "--model", "nobody-knows"), NotFoundError, "nobody-knows"),
        (("--simulate", "nothing-like-it"), NotFoundError, "no profile 'nothing-like-it'"),
        (("--cpu", "--config", "/nowhere.yaml"), ConfigError, "nowhere"),
        (("--cpu", "--model", "mock-440hz", "--out", "/dev/null/x.yaml"), InvalidArgumentError, "can't be written"),
    ],
)
def test_what_is_refused_before_anything_is_measured(run, arguments, error, word):
    result, asked = run(*arguments)
    assert isinstance(result.exception, error)
    assert word in str(result.exception)
    assert not asked


def test_a_gpu_that_is_not_there(run, monkeypatch):
    def find(number):
        raise UnavailableError(f"no driver for {number}")

    monkeypatch.setattr(ttsw.cli.bench.command, "find_gpu", find)
    result, asked = run("--gpu", "3")
    assert isinstance(result.exception, UnavailableError)
    assert not asked


def test_plans_and_slos():
    assert (choose_plan(quick=True, full=False), choose_plan(quick=False, full=True)) == (QUICK, FULL)
    assert choose_plan(quick=False, full=False) == NORMAL
    assert choose_slo(123.0).ttfa_ms == 123.0


def test_where_a_profile_can_be_written(tmp_path):
    check_target(tmp_path / "a.yaml", replace=False)
    check_target(tmp_path / "new" / "folder" / "a.yaml", replace=False)
    (tmp_path / "folder.yaml").mkdir()
    for wrong in (tmp_path / "folder.yaml", tmp_path / "file" / "a.yaml"):
        (tmp_path / "file").touch()
        with pytest.raises(InvalidArgumentError, match="can't be written"):
            check_target(wrong, replace=False)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InvalidArgumentError, match="can't be written"):
        check_target(tmp_path / "a.yaml", replace=False)


def rendered(what):
    with out.capture() as capture:
        out.print(what)
    return [line.split() for line in capture.get().splitlines()]


def test_the_summary():
    heading, full, bare = rendered(summary(make(a=FACTS, b=ModelFacts(family="x", size_mb=5.0, peak_mb=5.0))))
    assert " ".join(heading) == "model MB MB a session load sessions published bound by TTFA p95 RTF"
    assert " ".join(full) == "a 87 1.5 1.50 s 4 3 continuity 123 ms 0.100"
    assert " ".join(bare) == "b 5 ?"


def test_a_level_in_a_line():
    (good,) = rendered(level_line("a", GOOD, "confirm"))
    assert " ".join(good) == (
        "✓ a 4 sessions, TTFA p95 123 ms, RTF 0.100, C100 100 %, STOP p95 4 ms, 321 MB (confirm, n 12)"
    )
    (bad,) = rendered(level_line("a-[red]", BAD.model_copy(update={"arrivals": "poisson"}), "probe"))
    assert " ".join(bad) == "✗ a-[red] 5 sessions (probe, by chance, n 3): C100 [50] % is below 100 %"


@pytest.mark.parametrize(("seconds", "words"), [(0, "0 s"), (81, "90 s"), (91, "2 min"), (3_601, "1 h 1 min")])
def test_the_time_left(seconds, words):
    assert left_words(seconds) == f"about {words} left"


def test_progress_where_nobody_watches():
    with err.capture() as capture, Shown() as shown:
        shown.stage("a: trying [1]", 30.0)
        shown.level("a", GOOD, "probe")
    told = capture.get().splitlines()
    assert told[0] == "a: trying [1]; about 30 s left"
    assert "4 sessions" in told[1]
