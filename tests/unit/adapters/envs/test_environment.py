"""Environments of families: found, made of a list that needs no network, cut off, made anew, removed."""

import os
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from ttsw.adapters.envs import environment as environments
from ttsw.adapters.envs import install as installing
from ttsw.adapters.envs.environment import (
    STAMP,
    EnvironmentState,
    Stamp,
    engines_dir,
    find,
    folders,
    own_families,
    parse_requirements,
    read_requirements,
)
from ttsw.adapters.envs.install import install, python_version, remove
from ttsw.adapters.envs.installer import find_installer
from ttsw.errors import (
    AlreadyExistsError,
    ConfigError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)

LIST = "# disk: 1 MB\ntiny-engine==1.0\nleading-library==2.0  # with dependencies\n"


@pytest.fixture
def lists(tmp_path, monkeypatch):
    """The family `tiny`, and no other, has an environment of its own."""
    folder = tmp_path / "lists"
    folder.mkdir()
    (folder / "tiny.txt").write_text(LIST)
    monkeypatch.setattr(environments, "_LISTS", folder)
    return folder


@pytest.fixture
def environ(tmp_path, lists):
    return {**os.environ, "TTSW_ENGINES_DIR": str(tmp_path / "engines"), "PIP_NO_INDEX": "1"}


@pytest.fixture
def quick(monkeypatch):
    """Makes environments without pip; says what is in each."""

    def fill(folder, _base, _wanted, _environ, report):
        report("filling")
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "python").symlink_to(sys.executable)
        (folder / "content").write_text(fill.content)

    fill.content = "first"
    monkeypatch.setattr(installing, "_fill", fill)
    return fill


def nobody(_line):
    pass


def wheel(folder, name, version, requires=""):
    """Write a wheel with one module."""
    folder.mkdir(exist_ok=True)
    module, info = name.replace("-", "_"), f"{name.replace('-', '_')}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    with zipfile.ZipFile(folder / f"{module}-{version}-py3-none-any.whl", "w") as file:
        file.writestr(f"{module}.py", f"VERSION = {version!r}\n")
        file.writestr(f"{info}/METADATA", metadata + (f"Requires-Dist: {requires}\n" if requires else ""))
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")


# --- lists


def test_every_shipped_list_is_made_of_exact_pins():
    assert "xtts-v2" in own_families()
    for family in own_families():
        wanted = read_requirements(family)
        assert wanted.disk_mb > 0
        assert not any(word in wanted.path.read_text() for word in ("://", "--hash", "@"))


def test_a_list_tells_which_pins_bring_their_dependencies(lists):
    wanted = read_requirements("tiny")
    assert wanted.pins == ("tiny-engine==1.0", "leading-library==2.0")
    assert (wanted.leading, wanted.disk_mb) == (("leading-library==2.0",), 1.0)


def test_a_pin_may_be_for_some_pythons_only(tmp_path):
    (tmp_path / "x.txt").write_text("# disk: 5 MB\na==1 ; python_version < '3.13'  # no build\n")
    assert parse_requirements(tmp_path / "x.txt").pins == ("a==1 ; python_version < '3.13'",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a==1\n", "a line '# disk: <number> MB'"),
        ("# disk: 5 MB\n", "lines 'name==version'$"),
        ("# disk: 5 MB\na>=1\n", "and 'a>=1' is neither"),
        ("# disk: 5 MB\n-r other.txt\n", "and '-r other.txt' is neither"),
    ],
)
def test_a_list_that_is_not_exact_is_our_fault(tmp_path, text, said):
    (tmp_path / "x.txt").write_text(text)
    with pytest.raises(InternalError, match=said):
        parse_requirements(tmp_path / "x.txt")


@pytest.mark.usefixtures("lists")
def test_families_without_an_environment_are_told_apart():
    with pytest.raises(
        FailedPreconditionError, match=r"'piper' runs in the worker's own .*-m pip install .*\[piper\]'"
    ):
        find("piper", {})
    with pytest.raises(NotFoundError, match=r"no family 'x'; there are: .*mock, piper.*, tiny"):
        find("x", {})


# --- places and states


def test_the_folder_is_the_users_where_there_is_no_checkout(tmp_path):
    (tmp_path / "ttsw").mkdir()
    assert engines_dir({"XDG_DATA_HOME": "/data"}, tmp_path / "ttsw") == Path("/data/ttsw/engines")
    (tmp_path / "pyproject.toml").touch()
    assert engines_dir({"XDG_DATA_HOME": "/data"}, tmp_path / "ttsw") == tmp_path / ".engines"
    assert engines_dir({"TTSW_ENGINES_DIR": "/here"}, tmp_path / "ttsw") == Path("/here")
    with pytest.raises(ConfigError, match="TTSW_ENGINES_DIR is 'here', and must be an absolute path"):
        engines_dir({"TTSW_ENGINES_DIR": "here"})


@pytest.mark.usefixtures("quick")
def test_an_environment_goes_through_its_states(environ, lists):
    assert find("tiny", environ).state == "absent"
    ready = install("tiny", environ, nobody)
    assert (ready.state, ready.python) == ("ready", Path(environ["TTSW_ENGINES_DIR"], "tiny", "bin", "python"))
    assert ready.stamp.python == ".".join(map(str, sys.version_info[:3]))
    assert ready.size_bytes() > 0
    (lists / "tiny.txt").write_text(LIST + "more==1\n")
    assert find("tiny", environ).state is EnvironmentState.OUTDATED
    (ready.root / STAMP).write_text("{")
    assert find("tiny", environ).state is EnvironmentState.INCOMPLETE
    remove("tiny", environ)
    assert find("tiny", environ).state is EnvironmentState.ABSENT
    assert [path.name for path in ready.root.parent.iterdir()] == ["tiny.lock"]
    with pytest.raises(FailedPreconditionError, match="there is no environment of 'tiny' to remove"):
        remove("tiny", environ)


@pytest.mark.usefixtures("quick")
def test_an_environment_whose_interpreter_is_gone_is_incomplete(environ):
    python = install("tiny", environ, nobody).python
    python.unlink()
    python.symlink_to("/nowhere/python")
    assert find("tiny", environ).state is EnvironmentState.INCOMPLETE
    assert install("tiny", environ, nobody).state is EnvironmentState.READY


@pytest.mark.parametrize("text", ["", "[]", '{"sha256": "a"}', "\udcff"])
def test_a_stamp_that_is_not_whole_counts_for_nothing(tmp_path, text):
    (tmp_path / STAMP).write_bytes(text.encode("utf-8", "surrogateescape"))
    assert Stamp.read(tmp_path) is None


# --- made and made anew


def test_a_ready_environment_is_left_alone_unless_forced(environ, quick):
    first, said = install("tiny", environ, nobody), []
    assert install("tiny", environ, said.append) == first
    assert said == []
    quick.content = "second"
    assert install("tiny", environ, nobody, force=True).state is EnvironmentState.READY
    assert (first.root / "content").read_text() == "second"
    assert len(folders(first.root)) == 1


def test_an_outdated_environment_serves_until_the_next_is_complete(environ, lists, monkeypatch, quick):
    root = install("tiny", environ, nobody).root
    (lists / "tiny.txt").write_text(LIST + "more==1\n")
    quick.content = "second"
    seen = []

    def fail(*arguments):
        quick(*arguments)
        seen.append(((root / "content").read_text(), find("tiny", environ).state))
        raise UnavailableError("no network")

    with monkeypatch.context() as patch:
        patch.setattr(installing, "_fill", fail)
        with pytest.raises(UnavailableError):
            install("tiny", environ, nobody)
    assert seen == [("first", EnvironmentState.OUTDATED)]
    assert find("tiny", environ).state is EnvironmentState.OUTDATED
    assert len(folders(root)) == 1
    assert install("tiny", environ, nobody).state is EnvironmentState.READY
    assert (root / "content").read_text() == "second"


@pytest.mark.parametrize("error", [KeyboardInterrupt, UnavailableError, SystemExit])
def test_an_install_cut_off_leaves_nothing(environ, monkeypatch, error):
    def fill(folder, *_):
        (folder / "bin").mkdir(parents=True)
        raise error

    monkeypatch.setattr(installing, "_fill", fill)
    with suppress(error):
        install("tiny", environ, nobody)
    assert find("tiny", environ).state is EnvironmentState.ABSENT


@pytest.mark.usefixtures("quick")
def test_what_a_killed_install_left_is_incomplete_and_goes_with_the_next(environ):
    base = Path(environ["TTSW_ENGINES_DIR"])
    (base / ".tiny.0123" / "bin").mkdir(parents=True)
    (base / ".tiny.0123.link").symlink_to(".tiny.0123")
    (base / ".tiny-other.4567").mkdir()
    assert find("tiny", environ).state is EnvironmentState.INCOMPLETE
    root = install("tiny", environ, nobody).root
    assert folders(root) == [root.resolve()]
    assert (base / ".tiny-other.4567").is_dir()


@pytest.mark.usefixtures("quick")
def test_a_folder_made_by_hand_is_replaced(environ):
    root = Path(environ["TTSW_ENGINES_DIR"], "tiny")
    root.mkdir(parents=True)
    assert find("tiny", environ).state is EnvironmentState.INCOMPLETE
    assert install("tiny", environ, nobody).root.is_symlink()


@pytest.mark.usefixtures("quick")
def test_a_folder_made_by_hand_is_removed(environ):
    Path(environ["TTSW_ENGINES_DIR"], "tiny", "bin").mkdir(parents=True)
    remove("tiny", environ)
    assert find("tiny", environ).state is EnvironmentState.ABSENT


# --- refusals


@pytest.mark.usefixtures("quick")
def test_one_install_at_a_time(environ):
    root = Path(environ["TTSW_ENGINES_DIR"], "tiny")
    with installing._lock(root):
        for change in (lambda: install("tiny", environ, nobody), lambda: installing._lock(root).__enter__()):
            with pytest.raises(AlreadyExistsError, match="'tiny' is being installed or removed by another ttsw"):
                change()
    assert install("tiny", environ, nobody).state is EnvironmentState.READY


@pytest.mark.usefixtures("quick")
def test_a_full_disk_is_told_ahead(environ, monkeypatch):
    monkeypatch.setattr(installing.shutil, "disk_usage", lambda _path: SimpleNamespace(free=400_000))
    with pytest.raises(
        ResourceExhaustedError, match=r"tiny needs 1 MB, and .*engines has 0 MB free; make room, or set"
    ):
        install("tiny", environ, nobody)
    assert find("tiny", environ).state is EnvironmentState.ABSENT


def test_a_folder_that_cannot_be_written_is_named(environ, tmp_path):
    (tmp_path / "engines").write_text("a file")
    with pytest.raises(UnavailableError, match=r"engines cannot be used: (File exists|Not a directory): .*engines"):
        install("tiny", environ, nobody)


def test_an_interpreter_must_be_one_and_new_enough(environ, tmp_path):
    old, odd = tmp_path / "old", tmp_path / "odd"
    for path, said in ((old, "3.10.13"), (odd, "hello")):
        path.write_text(f"#!/bin/sh\necho {said}\n")
        path.chmod(0o755)
    assert python_version(Path(sys.executable)) == ".".join(map(str, sys.version_info[:3]))
    with pytest.raises(InvalidArgumentError, match=r"old is Python 3\.10\.13; engines need 3\.11 or newer"):
        install("tiny", environ, nobody, python=old)
    for wrong in (odd, tmp_path / "none", Path("/bin/false")):
        with pytest.raises(InvalidArgumentError, match=f"{wrong} is no Python interpreter; give the path of one"):
            python_version(wrong)
    assert find("tiny", environ).state is EnvironmentState.ABSENT


# --- with uv, or with pip where uv is missing


@pytest.fixture(params=["uv", "pip"])
def installer(request, monkeypatch):
    if request.param == "pip":
        monkeypatch.setattr("ttsw.adapters.envs.installer.shutil.which", lambda *_, **__: None)
    return request.param


@pytest.fixture
def unconfigured(environ):
    """An environment in which pip has no configuration."""
    return {name: value for name, value in environ.items() if not name.startswith("PIP_")} | {
        "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1",
    }  # fmt: skip


def test_with_extra_indexes_pip_installs_since_uv_would_choose_otherwise(unconfigured):
    python, more = Path(sys.executable), {"PIP_EXTRA_INDEX_URL": "https://example.org/simple"}
    assert find_installer(python, unconfigured).name == "uv"
    assert find_installer(python, unconfigured | more).name == "pip"
    assert find_installer(python, unconfigured | more | {"UV_INDEX": "https://example.org/simple"}).name == "uv"


@pytest.mark.slow
def test_each_pin_is_installed_as_it_stands_and_dependencies_only_of_the_leading(unconfigured, tmp_path, installer):
    """What tiny-engine asks for isn't there; what leading-library asks for comes."""
    wheels = tmp_path / "wheels"
    wheel(wheels, "tiny-engine", "1.0", requires="nowhere==9")
    wheel(wheels, "leading-library", "2.0", requires="its-own>=1")
    wheel(wheels, "its-own", "3.0")
    lines: list[str] = []
    ready = install("tiny", unconfigured | {"PIP_FIND_LINKS": str(wheels), "PYTHONPATH": "/nowhere"}, lines.append)
    code = "import tiny_engine, leading_library, its_own; print(tiny_engine.VERSION)"
    done = subprocess.run([ready.python, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1.0\n"
    assert any(line.startswith({"pip": "Successfully installed", "uv": "Installed "}[installer]) for line in lines)
    assert ready.state is EnvironmentState.READY


@pytest.mark.slow
def test_where_the_installer_fails_its_last_lines_are_told(unconfigured, installer):
    with pytest.raises(
        UnavailableError, match=rf"(?s){installer} failed with exit code 1, and nothing.*leading-library==2\.0"
    ):
        install("tiny", unconfigured, nobody)
    assert find("tiny", unconfigured).state is EnvironmentState.ABSENT


def test_a_program_does_not_outlive_its_call(environ):
    pids = []

    def stop(line):
        pids.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        installing._Runner(environ, stop)("sh", ["sh", "-c", "echo $$; exec sleep 60"])
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_a_program_that_ignores_its_end_is_killed(environ, monkeypatch):
    monkeypatch.setattr(installing, "_GRACE_S", 0.1)
    pids = []

    def stop(line):
        pids.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        installing._Runner(environ, stop)("sh", ["sh", "-c", "trap '' TERM; echo $$; while :; do sleep 0.05; done"])
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)
