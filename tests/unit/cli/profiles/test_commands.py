"""`ttsw profiles`, command by command."""

import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tests.unit.profiles.samples import MEASURED, level
from ttsw.cli.profiles import commands as module
from ttsw.cli.profiles.commands import profiles_app
from ttsw.config import Config
from ttsw.errors import ConfigError, FailedPreconditionError, InvalidArgumentError, NotFoundError
from ttsw.models.measurements import ModelSize, open_measurements
from ttsw.profiles.files import own_folder, write_profile
from ttsw.profiles.schema import Profile


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = own_folder({"XDG_DATA_HOME": str(tmp_path / "data")})
    write_profile(MEASURED, folder / "sample.yaml")
    return folder


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setattr(module, "out", Console(width=250, highlight=False))

    def run(*arguments, code=0):
        result = CliRunner().invoke(profiles_app, [str(argument) for argument in arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    return run


# --- list


def test_profiles_are_listed_with_where_they_are_from(run, own):
    (own / "bad.yaml").write_text("format: 7\n")
    said = run("list").stdout
    rows = {line.split()[0]: " ".join(line.split()) for line in said.splitlines() if line.strip()}
    assert rows["sample"] == "sample A Processor measured 2026-11-22 2 piper-anna 9 own"
    assert rows["rtx4090"].startswith("rtx4090 NVIDIA GeForce RTX 4090 estimated 2026-11-22 3 ")
    assert rows["rtx4090"].endswith("shipped")
    assert rows["bad"] == "bad broken own"
    assert "broken: " in said
    assert "this version of ttsw reads profiles of format 1" in said


def test_an_interrupted_measurement_is_listed_and_shown_as_such(run, own):
    write_profile(MEASURED.model_copy(update={"provenance": "partial"}), own / "sample.partial.yaml")
    (row,) = [line for line in run("list").stdout.splitlines() if "sample.partial" in line]
    assert " partial " in row
    assert "measured" not in row
    assert "partial: measured on" in run("show", "sample.partial").stdout


def test_profiles_are_listed_for_programs(run, own):
    (own / "bad.yaml").write_text("[")
    rows = {row["name"]: row for row in json.loads(run("list", "--json").stdout)}
    assert rows["sample"] == {
        "name": "sample",
        "file": str(own / "sample.yaml"),
        "from": "own",
        "fault": "",
        "provenance": "measured",
        "device": "A Processor",
        "date": "2026-11-22T12:30:15+00:00",
        "models": ["piper-anna", "hibari-heart"],
        "sessions": {"piper-anna": 9},
    }
    assert "not valid YAML" in rows["bad"]["fault"]
    assert "device" not in rows["bad"]


# --- show


def test_a_measured_profile_is_drawn(run):
    said = run("show", "sample").stdout
    for words in (
        "sample: A Processor, 2 cores, 8000 MB",
        "measured on 2026-11-22",
        "disturbed: load average 3.5",
        "in memory together: hibari-heart, piper-anna (resident_cap 2, budget 7600 MB, headroom 400 MB)",
        "TTFA, ms  ⠶ p99  ⠶ p95  ⠶ p50  ┄ SLO 300",
        "without gaps, %  ⠶ C0  ⠶ C50  ⠶ C100  ┄ SLO 100",
        "not kept TTFA p95 is above the SLO",
        "piper-anna while hibari-heart loads: 2",
        "a note",
    ):
        assert words in said
    assert "estimated" not in said
    assert any(0x2800 < ord(sign) <= 0x28FF for sign in said)


def test_an_estimate_says_so(run):
    said = run("show", "l4").stdout
    assert said.splitlines()[1].startswith("estimated, not measured, on 2026-11-22")
    assert "no level of load was measured, so there is nothing to draw" in said


def test_a_profile_is_shown_for_programs(run):
    assert Profile.model_validate_json(run("show", "sample", "--json").stdout) == MEASURED


def test_a_page_is_written(run, tmp_path):
    result = run("show", "sample", "--html", tmp_path / "p.html")
    assert result.stdout == ""
    page = (tmp_path / "p.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "piper-anna" in page
    with pytest.raises(ConfigError, match="the page cannot be written: No such file"):
        run("show", "sample", "--html", tmp_path / "no" / "p.html")


def test_markup_is_shown_as_it_is(run, own):
    device = MEASURED.device.model_copy(update={"name": "[bold]x[/] [/red]"})
    write_profile(MEASURED.model_copy(update={"device": device, "notes": "[/]"}), own / "odd.yaml")
    assert "[bold]x[/] [/red]" in run("show", "odd").stdout
    assert "[bold]x[/] [/red]" in run("list").stdout


def test_what_is_no_profile_is_told(run, own):
    with pytest.raises(NotFoundError, match="no profile 'sampel'; did you mean sample"):
        run("show", "sampel")
    (own / "bad.yaml").write_text("name: 3\n")
    with pytest.raises(ConfigError, match=r"bad\.yaml, line 1: name: 3 is not valid: must be a text: put it in quotes"):
        run("show", "bad")


# --- diff


def test_two_profiles_are_compared(run, own):
    anna = MEASURED.models["piper-anna"].model_copy(update={"size_mb": 200.0, "peak_mb": 170.0})
    write_profile(MEASURED.model_copy(update={"models": MEASURED.models | {"piper-anna": anna}}), own / "b.yaml")
    lines = [" ".join(line.split()) for line in run("diff", "sample", own / "b.yaml").stdout.splitlines()]
    assert "piper-anna: size, MB 137.2 200 +46% ●" in lines
    assert "piper-anna: peak, MB 164.7 170 +3%" in lines
    assert len(lines) == 3
    rows = {row["what"]: row for row in json.loads(run("diff", "sample", own / "b.yaml", "--json").stdout)}
    assert rows["piper-anna: size, MB"]["beyond"] is True
    assert rows["device"]["beyond"] is False
    assert run("diff", "sample", "sample").stdout == "they say the same\n"


# --- plan


def test_what_would_fit_is_said_with_where_sizes_are_from(run):
    open_measurements(Config()).keep_size("xtts-v2-en-demo", "cuda:0", ModelSize(2_000_000_000, 2_500_000_000, 3.0))
    said = run("plan", "--vram", "8GB", "--models", "xtts-v2-en-demo, sesame-csm-1b").stdout
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert lines[0] == "8000 MB, of which 7600 MB are for models and their sessions"
    assert lines[2] == "xtts-v2-en-demo 2000 2500 measured here on cuda:0 yes memory for 21"
    assert lines[3] == "sesame-csm-1b 5000 6000 stated by its pack no memory for 38"
    assert "how many sessions it computes in time isn't known: give --card NAME or --bandwidth GB/S" in said


def test_sessions_are_planned_where_the_speed_is_known(run):
    found = json.loads(run("plan", "--card", "rtx4090", "--json").stdout)
    assert found["memory_mb"] == 24_000
    assert found["resident"] == ["cosyvoice2-en-base", "sesame-csm-1b", "xtts-v2-en-demo"]
    shipped = json.loads(run("show", "rtx4090", "--json").stdout)
    assert {name: found[name] for name in shipped["derived"]} == shipped["derived"]
    said = run("plan", "--vram", "24GB", "--bandwidth", "1000").stdout
    assert "estimated, not measured: 50% of what a formula gives" in said
    assert "only the time to read memory is counted" in said


def test_nothing_is_said_of_sessions_where_nothing_is_known_of_speed(run):
    found = json.loads(run("plan", "--vram", "24GB", "--json").stdout)
    assert (found["sessions"], found["mixed_sessions"]) == (None, None)
    assert found["models"]["sesame-csm-1b"]["memory_for_sessions"] > 0


def test_none_may_fit(run):
    assert "in memory together: none of them fits" in run("plan", "--vram", "1GB", "--card", "l4").stdout


def test_what_cannot_be_planned_is_told(run):
    with pytest.raises(InvalidArgumentError, match="say how much memory the GPU has"):
        run("plan")
    with pytest.raises(InvalidArgumentError, match="say how much memory the GPU has"):
        run("plan", "--bandwidth", "1000")
    with pytest.raises(InvalidArgumentError, match="'much' is no amount of memory"):
        run("plan", "--vram", "much")
    with pytest.raises(NotFoundError, match="no voice pack 'x'; there are: "):
        run("plan", "--vram", "8GB", "--models", "x")
    with pytest.raises(NotFoundError, match="no card 'rtx1'"):
        run("plan", "--card", "rtx1")
    with pytest.raises(InvalidArgumentError, match="mock-440hz runs on the processor"):
        run("plan", "--vram", "8GB", "--models", "mock-440hz")


# --- verify


@pytest.fixture
def again(monkeypatch):
    """Stands in for the measurement: gives what it is set to, and remembers what was asked."""
    asked = []

    def give(**changes):
        anna = MEASURED.models["piper-anna"].model_copy(update={"sweep": ()} | changes)
        derived = MEASURED.derived.model_copy(update={"resident": ("piper-anna",)})
        found = MEASURED.model_copy(
            update={"models": {"piper-anna": anna}, "derived": derived, "disturbances": ("a neighbour",)}
        )

        async def verify(profile, *, config, seconds, gpu, progress):
            asked.append((profile, config, seconds, gpu))
            progress.stage("piper-anna: [loading] it", 12.0)
            progress.level("piper-anna", level(9, 400.0, passed=False), "confirm")
            return found

        monkeypatch.setattr(module, "measure_again", verify)
        return asked

    return give


def test_what_holds_is_said(run, again):
    asked = again()
    result = run("verify", "sample", "--seconds", "30", "--gpu", "1")
    assert result.stdout == "sample holds\nnot measured: hibari-heart\n"
    for words in (
        "piper-anna: [loading] it … about 12 s",
        "9 at once, TTFA p95 440 ms, SLOs not kept: TTFA p95",
        "a neighbour",
    ):
        assert words in " ".join(result.stderr.split())
    assert asked == [(MEASURED, asked[0][1], 30.0, 1)]


def test_drift_is_shown_and_ends_with_1(run, again):
    again(size_mb=300.0)
    lines = [" ".join(line.split()) for line in run("verify", "sample", code=1).stdout.splitlines()]
    assert lines[:2] == ["sample now change", "piper-anna: size, MB 137.2 300 +119% ●"]
    again(sweep=(level(9, 400.0, passed=False),))
    assert "piper-anna: SLOs at 9" in run("verify", "sample", code=1).stdout


def test_what_has_got_better_is_shown_and_is_no_failure(run, again):
    again(size_mb=50.0)
    said = " ".join(run("verify", "sample").stdout.split())
    assert "piper-anna: size, MB 137.2 50 -64% ●" in said
    assert "sample holds: what differs has got better; ttsw bench measures it anew" in said
    found = json.loads(run("verify", "sample", "--json").stdout)
    assert [(row["what"], row["worse"]) for row in found["drifted"]] == [("piper-anna: size, MB", False)]


def test_drift_is_told_to_programs(run, again):
    again(size_mb=300.0)
    found = json.loads(run("verify", "sample", "--json", code=1).stdout)
    assert [row["what"] for row in found["drifted"]] == ["piper-anna: size, MB"]
    assert found["not_measured"] == ["hibari-heart"]
    assert Profile.model_validate_json(json.dumps(found["measured"])).models["piper-anna"].size_mb == 300


def test_what_cannot_be_measured_is_told(run, monkeypatch):
    async def verify(*_profile, **_more):
        raise FailedPreconditionError("not one model could be measured")

    monkeypatch.setattr(module, "measure_again", verify)
    with pytest.raises(FailedPreconditionError, match="not one model"):
        run("verify", "sample")
