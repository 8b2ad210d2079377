"""Starts on machines that are set up in other ways: a foreign locale, no home directory, a full disk."""

import json
import os
import subprocess

import pytest

from tests.integration.forks import Case, run_all
from tests.integration.support import PATIENCE_S, TTSW, clean_environment

FOREIGN = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""ASCII for all that the interpreter reads and writes."""
COLD = {"TTSW_MODEL_MANAGER__WARMUP_ENABLED": "false"}
STRANGER = 54_321
"""A user whom no passwd entry knows."""


FULL = ("sh", "-c", 'ulimit -f 0; exec "$@"', "sh")
"""In front of a command: no file can be written anywhere, as on a disk that is full."""


def run(*arguments, before=(), **environment):
    """Run a command to its end."""
    ended = subprocess.run(
        [*before, *TTSW, *arguments], env=clean_environment(**environment), capture_output=True, timeout=PATIENCE_S,
        check=False,
    )  # fmt: skip
    said = ended.stderr.decode()
    assert ended.returncode == 0, said
    assert "Traceback" not in said
    return ended.stdout, said


def serves(*before, **environment):
    """Start a worker, see it serve, and stop it."""
    with subprocess.Popen(
        [*before, *TTSW, "serve", "--adapter", "mock", "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=clean_environment(**COLD, **environment),
    ) as worker:  # fmt: skip
        line = worker.stdout.readline()
        worker.terminate()
        said = worker.communicate(timeout=PATIENCE_S)[1].decode()
    assert line.startswith(b"ready grpc://127.0.0.1:"), said
    assert worker.returncode == 0, said


def test_a_foreign_locale():
    serves(**FOREIGN)
    listed, _ = run("voices", "list", **FOREIGN)
    assert b"hibari-heart" in listed
    assert listed.isascii()
    rows = json.loads(run("voices", "list", "--json", **FOREIGN)[0])
    assert any("\N{HORIZONTAL ELLIPSIS}" in row["fault"] for row in rows)
    run("config", "show", **FOREIGN)
    run("profiles", "show", "rtx4090", **FOREIGN)
    assert b"voices" in run("--help", **FOREIGN)[0]


def test_text_on_the_command_line_of_a_foreign_locale(worker, tmp_path):
    _, said = run("say", "Gr\u00fc\u00dfe, J\u00fcrgen!", "--addr", worker.address, **FOREIGN)
    assert "0.70 s of audio" in said, "14 letters, not 17"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_user_without_a_home_directory_and_a_name(tmp_path):
    tmp_path.chmod(0o777)
    for above in tmp_path.parents:
        if above.stat().st_uid == os.getuid() and above != above.parent:
            above.chmod(above.stat().st_mode | 0o011)
    homeless = {"HOME": "", "XDG_DATA_HOME": "", "XDG_STATE_HOME": "", "TMPDIR": str(tmp_path), **COLD}
    say = ["say", "Hello there.", "--local", "--model", "mock-440hz"]
    lines = (say, ["voices", "list"], ["profiles", "list"])
    cases = [Case(line, user=STRANGER, environment=homeless) for line in lines]
    for outcome in run_all(cases, clean_environment()):
        assert outcome.code == 0, outcome.err
        assert outcome.err.count("no home directory") == 1
    (folder,) = tmp_path.iterdir()
    assert (folder.name, folder.stat().st_uid, folder.stat().st_mode & 0o777) == (f"ttsw-{STRANGER}", STRANGER, 0o700)


def test_a_full_disk_keeps_nobody_from_speaking(tmp_path):
    folders = {"XDG_DATA_HOME": str(tmp_path / "data"), "XDG_STATE_HOME": str(tmp_path / "state")}
    serves(*FULL, **folders)
    _, said = run("say", "Hello there.", "--local", "--model", "mock-440hz", before=FULL, **folders, **COLD)
    assert "s of audio" in said
