"""`ttsw engines`, command by command, on environments that are made in no time."""

import json
import os
import platform
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from ttsw.adapters import families
from ttsw.adapters.envs import environment as environments
from ttsw.adapters.envs import install as installing
from ttsw.adapters.envs.environment import find
from ttsw.cli.engines import check as engine_checks
from ttsw.cli.engines import commands as module
from ttsw.cli.engines.check import EngineSpeech, build_pack, inspect, speak_once
from ttsw.cli.engines.commands import engines_app
from ttsw.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)
from ttsw.packs.reader import PackError
from ttsw.system.extras import install_hint
from ttsw.testing import FakeAdapter
from ttsw.types import VoicePack

LIST = "# disk: 1 MB\nnumpy==1.0\n"
BUILDER = """
def build(folder, size):
    (folder / "metadata.yaml").write_text(
        "family: tiny\\nmodel_id: " + size + "\\naudio: {sample_rate: 24000}\\nlanguages: [en]\\nlicense: CC0-1.0\\n"
    )
"""


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """The family `tiny` has an environment of its own: our interpreter, by a link."""

    def fill(folder, base, _wanted, _environ, report):
        report("Collecting [tiny]")
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "python").symlink_to(base)

    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "tiny.txt").write_text(LIST)
    monkeypatch.setattr(environments, "_LISTS", tmp_path / "lists")
    monkeypatch.setattr(installing, "_fill", fill)
    monkeypatch.setenv("TTSW_ENGINES_DIR", str(tmp_path / "engines"))
    return tmp_path / "engines" / "tiny"


@pytest.fixture
def adapter(monkeypatch):
    """The family `tiny` has an adapter."""

    def name(value):
        known = families.families() | {"tiny": EntryPoint("tiny", value, families.GROUP)}
        monkeypatch.setattr(families, "families", lambda: known)

    name("ttsw.adapters.mock:MockAdapter")
    return name


@pytest.fixture
def builder(monkeypatch, tmp_path, adapter):
    def write(text):
        (tmp_path / "make_tiny.py").write_text(text)
        packages = {"make_tiny": tmp_path / "make_tiny.py"}
        monkeypatch.setattr(engine_checks, "home", lambda _entry: packages)
        monkeypatch.setitem(engine_checks.BUILDERS, "tiny", "make_tiny")

    return write


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setattr(module, "out", Console(width=250, highlight=False))

    def run(*arguments, code=0):
        result = CliRunner().invoke(engines_app, [str(argument) for argument in arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    # The venv's own interpreter, so that what is linked to finds what is installed here.
    monkeypatch.setattr(installing, "python_version", lambda _python: platform.python_version())
    return run


# --- list


def row_of(run, family):
    return next(row for line in run("list").stdout.splitlines() if (row := line.split())[:1] == [family])


def test_families_are_listed_with_where_they_run(run, root, monkeypatch):
    def missing(family):
        if family == "hibari":
            raise UnavailableError("no hibari")

    monkeypatch.setattr(module, "adapter_class", missing)
    rows = {line.split()[0]: " ".join(line.split()) for line in run("list").stdout.splitlines()}
    assert rows["piper"] == "piper the worker's process installed"
    assert rows["hibari"] == f"hibari the worker's process not installed {install_hint('hibari')}"
    assert rows["tiny"] == "tiny its own process absent ttsw engines install tiny"
    run("install", "tiny")
    row = row_of(run, "tiny")
    assert row[:6] == ["tiny", "its", "own", "process", "ready", platform.python_version()]
    assert row[-1] == str(root)


def test_families_are_listed_for_programs(run, root):
    run("install", "tiny")
    row = {row["family"]: row for row in json.loads(run("list", "--json").stdout)}["tiny"]
    assert (row["state"], row["where"], row["mend"]) == ("ready", str(root), "")
    assert row["python"] == platform.python_version()


def test_what_an_environment_lacks_is_said(run, root, tmp_path):
    run("install", "tiny")
    (tmp_path / "lists" / "tiny.txt").write_text(LIST + "more==1\n")
    assert "tiny is outdated: ttsw engines install tiny renews it" in run("list").stdout
    (root / ".installed").unlink()
    assert row_of(run, "tiny")[4:5] == ["incomplete"]


# --- install and remove


def test_an_environment_is_installed_once(run, root):
    result = run("install", "tiny")
    assert "Collecting [tiny]" in result.stderr
    assert result.stdout.startswith("tiny: ready after 0 s: Python 3.11.7, ")
    assert f" in {root}; ttsw engines check tiny tries it" in result.stdout
    again = run("install", "tiny").stdout
    assert "tiny: is ready already, since 20" in again
    assert "--force makes it anew" in again
    assert "ready after" in run("install", "tiny", "--force").stdout


def test_another_interpreter_can_be_chosen(run, tmp_path, root):
    other = tmp_path / "other"
    other.symlink_to(sys.executable)
    run("install", "tiny", "--python", other)
    assert (root / "bin" / "python").readlink() == other


def test_ctrl_c_says_what_is_left(run, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "install_environment", stop)
    assert "stopped; nothing was installed" in run("install", "tiny", code=130).stderr


@pytest.mark.parametrize("verb", ["install", "check", "remove"])
def test_an_unknown_family_is_told_the_known(run, verb):
    with pytest.raises(NotFoundError, match=r"no family 'x'; there are: .*mock.*tiny"):
        run(verb, "x")
    with pytest.raises(FailedPreconditionError, match=r"-m pip install .*\[piper\]'"):
        run(verb, "piper")


def test_an_environment_is_removed(run, root):
    with pytest.raises(FailedPreconditionError, match="there is no environment of 'tiny' to remove"):
        run("remove", "tiny")
    run("install", "tiny")
    with pytest.raises(InvalidArgumentError, match=f"whether to remove {root}; give --yes"):
        run("remove", "tiny")
    assert run("remove", "tiny", "--yes").stdout.startswith("tiny: removed, with ")
    assert not root.exists()


# --- check


@pytest.fixture
def environment(run, monkeypatch):
    """An environment that has what ours has."""
    run("install", "tiny")
    found = find("tiny", os.environ)
    return environments.Environment("tiny", found.root, Path(sys.executable), found.state, found.stamp)


@pytest.mark.usefixtures("adapter")
def test_an_adapter_is_imported_in_its_environment(environment):
    found = inspect(environment)
    assert found.python.startswith("3.")
    assert found.libraries == {"numpy": np.__version__}
    assert found.devices[0] == "cpu"


def test_an_adapter_that_cannot_be_imported_is_told_with_its_last_line(environment, adapter):
    adapter("ttsw.adapters.mock:Nobody")
    with pytest.raises(
        UnavailableError, match=r"of 'tiny' doesn't work: AttributeError: .*'Nobody'; ttsw engines insta"
    ):
        inspect(environment)
    adapter("nowhere:Nobody")
    with pytest.raises(UnavailableError, match=r"ModuleNotFoundError: .*nowhere"):
        inspect(environment)


@pytest.mark.usefixtures("adapter")
def test_only_a_complete_environment_is_checked(run):
    with pytest.raises(FailedPreconditionError, match="of 'tiny' is absent; ttsw engines install tiny makes it"):
        run("check", "tiny")


def test_an_interpreter_that_is_gone_is_named(environment, adapter):
    gone = environments.Environment("tiny", environment.root, Path("/nowhere/python"), environment.state)
    with pytest.raises(UnavailableError, match="/nowhere/python can't be run: No such file"):
        inspect(gone)


def test_a_tiny_model_is_made(environment, builder, tmp_path):
    builder(BUILDER)
    pack = build_pack(environment, tmp_path / "packs")
    assert (pack.model_id, pack.root) == ("tiny-tiny", tmp_path / "packs" / "tiny" / "tiny")
    builder("def build(folder, size): raise ValueError('odd size')")
    with pytest.raises(UnavailableError, match="ValueError: odd size"):
        build_pack(environment, tmp_path / "others")


@pytest.mark.usefixtures("adapter")
def test_all_of_it_is_told(run, environment, builder, monkeypatch, tmp_path):
    async def speak(pack, device):
        assert (pack.model_id, device) == ("tiny-tiny", "cpu")
        return EngineSpeech(1.5, 0.25, 0.125)

    monkeypatch.setattr(module, "find", lambda *_: environment)
    monkeypatch.setattr(module, "speak_once", speak)
    assert "no tiny model of this family" in run("check", "tiny").stderr
    builder(BUILDER)
    said = run("check", "tiny", "--device", "cpu").stdout.splitlines()
    assert said[0].endswith(f", numpy {np.__version__}")
    assert said[1].startswith("tiny: torch sees cpu")
    assert said[2] == "tiny: a tiny model spoke 1.50 s of audio, the first after 250 ms, RTF 0.125"


# --- a sentence spoken as a worker would


@pytest.fixture
def fake(monkeypatch):
    def fake(**how):
        kind = type("Fake", (FakeAdapter,), how)
        known = families.families() | {"fake": EntryPoint("fake", "x:y", families.GROUP)}
        monkeypatch.setattr(families, "families", lambda: known)
        for place in ("ttsw.adapters.hosts.thread", "ttsw.placement"):
            monkeypatch.setattr(f"{place}.adapter_class", lambda _family: kind)
        return VoicePack("fake", "voice", Path(), sample_rate=24_000, languages=("en",))

    return fake


async def test_a_sentence_is_measured(fake):
    spoken = await speak_once(fake(), "cpu")
    assert spoken.seconds == pytest.approx(len(engine_checks.TEXT) / 100)
    assert 0 < spoken.first_s < 10
    assert 0 < spoken.rtf < 10


async def test_silence_is_a_fault(fake):
    pack = fake(speak=lambda _self, _text, _options: iter(()))
    with pytest.raises(PackError, match="fake-voice makes no audio"):
        await speak_once(pack, None)
