"""Modules of ttsw run under an interpreter that doesn't have it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import ttsw
from ttsw.adapters.envs import bootstrap
from ttsw.adapters.envs.bootstrap import command

SCRIPT = Path(bootstrap.__file__)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """An interpreter with nothing but the standard library."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-I", "-m", "venv", "--without-pip", folder], check=True)
    return folder / "bin" / "python"


def run(line, **more):
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False, **more)


def test_a_module_runs_as_main_with_its_arguments(bare, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").touch()
    (tmp_path / "mine" / "told.py").write_text(
        "import json, sys\nfrom ttsw.errors import TtswError\nimport ttsw\n"
        "print(json.dumps([__name__, sys.argv[1:], sys.path, ttsw.__file__, TtswError.__module__]))\n"
    )
    done = run(command(bare, "mine.told", "a", "b=c", packages={"mine": tmp_path / "mine"}))
    assert done.stderr == ""
    name, arguments, path, file, module = json.loads(done.stdout)
    assert (name, arguments) == ("__main__", ["a", "b=c"])
    assert (file, module) == (ttsw.__file__, "ttsw.errors")
    assert not any(place.startswith((str(Path(ttsw.__file__).parents[1]), str(tmp_path))) for place in path)


def test_only_the_named_packages_come_along(bare):
    done = run(command(bare, "ttsw.adapters.base"))
    assert "numpy" in done.stderr


def test_neither_the_current_folder_nor_pythonpath_is_looked_at(bare, tmp_path):
    (tmp_path / "json.py").write_text("raise RuntimeError('not that one')")
    (tmp_path / "ttsw.py").write_text("raise RuntimeError('not that one')")
    done = run(command(bare, "json.tool", "--help"), cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stderr) == (0, "")


def test_a_single_file_is_a_module_too(bare, tmp_path):
    (tmp_path / "lone.py").write_text("import sys\nprint(__name__)\nsys.exit(3)")
    done = run(command(bare, "lone", packages={"lone": tmp_path / "lone.py"}))
    assert (done.stdout, done.returncode) == ("__main__\n", 3)


def test_named_packages_win_over_installed_ones(tmp_path):
    (tmp_path / "rich").mkdir()
    (tmp_path / "rich" / "__init__.py").write_text("")
    (tmp_path / "rich" / "__main__.py").write_text("import rich; print(rich.__file__)")
    done = run(command(Path(sys.executable), "rich", packages={"rich": tmp_path / "rich"}))
    assert done.stdout.strip() == str(tmp_path / "rich" / "__init__.py")


def test_started_by_hand_its_own_folder_is_off_the_path(bare, tmp_path):
    (tmp_path / "lone.py").write_text("import sys\nprint(sys.path)")
    done = run([bare, SCRIPT, f"lone={tmp_path / 'lone.py'}", "lone"])
    assert str(SCRIPT.parent) not in done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no module to run; write bootstrap.py NAME=PLACE… MODULE [ARGUMENT…]"),
        (["ttsw=/nowhere", "ttsw"], "there is no package ttsw in /nowhere: it needs a folder with __init__.py"),
    ],
)
def test_a_wrong_command_line_is_refused(bare, arguments, said):
    done = run([bare, "-I", SCRIPT, *arguments])
    assert done.returncode == 1
    assert said in done.stderr


def test_an_old_interpreter_is_told_so(bare, tmp_path):
    """Another version is claimed before the script is run."""
    lines = f"import runpy, sys\nsys.version_info = (3, 10, 1)\nrunpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    (tmp_path / "old.py").write_text(lines)
    done = run([bare, tmp_path / "old.py"])
    assert done.stderr.strip() == f"ttsw needs Python 3.11 or newer, and {bare} is 3.10"
    assert done.returncode == 1
