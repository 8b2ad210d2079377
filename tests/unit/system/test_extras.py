"""How an extra gets installed: with this interpreter, and never from a name that nobody owns."""

import shlex
import sys

from ttsw.system.extras import install_hint, pip_line


def test_from_a_checkout_it_is_the_checkouts_own_extra(tmp_path):
    folder = tmp_path / "a folder"
    folder.mkdir()
    (folder / "pyproject.toml").touch()
    assert shlex.split(install_hint("piper", folder)) == [
        sys.executable, "-m", "pip", "install", "-e", f"{folder}[piper]",
    ]  # fmt: skip


def test_from_a_wheel_it_is_what_the_extra_names(tmp_path):
    line = shlex.split(install_hint("piper", tmp_path))
    assert line[:4] == [sys.executable, "-m", "pip", "install"]
    assert any(each.startswith("piper-tts") for each in line[4:])
    assert not any(each.startswith(("ttsw", "hibari")) for each in line[4:])


def test_an_extra_that_is_not_ours_has_no_command(tmp_path):
    for extra in ("own", "pipe", "p.per"):
        assert install_hint(extra, tmp_path) == (
            f"install, for {sys.executable}, what the package that brings {extra} names"
        )


def test_an_interpreters_own_pip():
    assert pip_line("uninstall", "x y") == f"{shlex.quote(sys.executable)} -m pip uninstall 'x y'"
