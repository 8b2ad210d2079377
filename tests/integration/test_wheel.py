"""The wheel, installed in an environment of its own and used outside the checkout: it brings all that it needs."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.support import clean_environment

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """An environment with the wheel, which finds ttsw's dependencies in the one that runs the tests."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, ROOT], check=True)
    (wheel,) = folder.glob("ttsw-*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    subprocess.run([*pip, "--python", python, "install", "--no-deps", wheel], check=True)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    ours = [path for path in sys.path if path.endswith("site-packages")]
    (site / "dependencies.pth").write_text("\n".join(ours) + "\n")
    return python


def run(python, *arguments, folder):
    environment = clean_environment(XDG_DATA_HOME=str(folder / "data"), XDG_STATE_HOME=str(folder / "state"))
    command = [python, "-I", "-m", "ttsw", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_it_speaks_outside_the_checkout(installed, tmp_path):
    where = [installed, "-I", "-c", "import ttsw; print(ttsw.__file__)"]
    assert str(ROOT) not in subprocess.run(where, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    done = run(installed, "say", "The birch canoe.", "--local", "-o", "out.wav", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.wav").stat().st_size > 48_000


def test_it_has_the_shipped_packs_profiles_and_configuration(installed, tmp_path):
    for arguments, said in (
        (("voices", "list"), "hibari-heart"),
        (("profiles", "list"), "rtx4090"),
        (("config", "check"), "usable"),
        (("engines", "list"), "cosyvoice2"),
    ):
        done = run(installed, *arguments, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert said in done.stdout
