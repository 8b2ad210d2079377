"""The README's examples work as they stand there: from top to bottom, twice, in one shell, with a real voice."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from tests.integration.redis_server import RedisServer
from tests.integration.support import clean_environment
from ttsw.cli.main import app
from ttsw.packs.catalogue import open_catalogue

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
ADDRESS = "127.0.0.1:7002"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
ELSEWHERE = re.compile(r"^make | ttsw serve|^ttsw serve| pull |engines (install|check)")
"""Lines that serve (a worker is there already), download, or install for minutes."""


def script() -> str:
    """Put the blocks of the README into one script: each program by itself, the shell's lines as they stand."""
    lines = ["set -e", "trap 'echo \"failed: $BASH_COMMAND\"' ERR"]
    for kind, body in BLOCK.findall(README):
        if kind == "python":
            lines.append(f"python - <<'END_OF_PROGRAM'\n{body}END_OF_PROGRAM")
        elif kind == "sh":
            lines += [line for line in body.splitlines() if not ELSEWHERE.search(line)]
    return "\n".join(lines) + "\n"


@pytest.fixture
def home(tmp_path):
    """What the README's user has: a checkout with its .venv, a Piper voice, and a voice pack."""
    joe = open_catalogue(None, os.environ).catalogue["piper-en-us-joe-medium"].files
    pack = tmp_path / "my-pack"
    pack.mkdir()
    for role, name in (("model.onnx", "en_GB-alan-medium.onnx"), ("config.json", "en_GB-alan-medium.onnx.json")):
        shutil.copy(joe[role], tmp_path / name)
        shutil.copy(joe[role], pack / role)
    (pack / "metadata.yaml").write_text("family: piper\nmodel_id: my-pack\naudio: {sample_rate: 22050}\n", "utf-8")
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "activate").write_text('PATH="$PWD/.venv/bin:$PATH"\n')
    for name, module in (("python", ""), ("ttsw", "-m ttsw ")):
        (programs / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {module}"$@"\n')
        (programs / name).chmod(0o755)
    return tmp_path


def test_readme(request, start_worker, home):
    for family in ("hibari", "piper"):
        pytest.importorskip(family, reason=f"the README speaks with the extra `{family}`, which is not installed")
    redis = RedisServer(home)
    redis.start()
    request.addfinalizer(redis.kill)
    worker = start_worker("--log-format", "json", redis__url=redis.url)  # all else as it comes
    request.addfinalizer(worker.stop)
    text = script().replace(ADDRESS, worker.address).replace("redis://localhost:6379", redis.url)
    text = re.sub(r"ttsw say (?!--redis|.*--local)", f"ttsw say --addr {worker.address} ", text)
    text = re.sub(r"ttsw models (\w+)", rf"ttsw models \1 --addr {worker.address}", text)
    path = os.pathsep.join(each for each in os.environ["PATH"].split(os.pathsep) if not (Path(each) / "ttsw").exists())
    environment = clean_environment(XDG_DATA_HOME=str(home / "data"), PYTHONPATH=str(ROOT), PATH=path)
    for _ in range(2):
        done = subprocess.run(
            ["bash", "-c", text], cwd=home, env=environment, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
    assert (home / "hello.wav").stat().st_size > 10_000
    assert (home / "out.wav").stat().st_size > 100_000
    assert "utterance" in {line["event"] for line in worker.lines()}


def commands():
    """Every line of the README that runs ttsw, in whatever block."""
    for _, body in BLOCK.findall(README):
        for line in body.splitlines():
            words = shlex.split(line.partition("|")[2] or line, comments=True)
            at = next((place for place, word in enumerate(words) if word in {"ttsw", ".venv/bin/ttsw"}), None)
            if at is not None and all("=" in word for word in words[:at]):
                yield words[at + 1 :]


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_command_line_is_one_that_there_is(words):
    """Also of the blocks that need a GPU or weights, and aren't run."""
    command, path = typer.main.get_command(app), "ttsw"
    context = None
    while hasattr(command, "get_command"):
        name, *words = words
        command, path = command.get_command(None, name), f"{path} {name}"
        assert command is not None, path
    context = command.make_context(path, list(words))
    assert not context.args


def test_no_command_overwrites_a_recording_that_another_one_reads():
    read = {words[3] for words in commands() if words[:2] == ["voices", "clone"]}
    written = {words[words.index("-o") + 1] for words in commands() if "-o" in words}
    assert read
    assert not read & written
