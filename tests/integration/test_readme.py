"""The README's examples work as they stand there, from top to bottom and again, against a worker on a real voice."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import CodeBlockParser

from tests.integration.redis_server import RedisServer
from tests.integration.support import clean_environment
from ttsw.models.shelf import open_library

ROOT = Path(__file__).parents[2]
ADDRESS = "127.0.0.1:7002"


OURS = "say|config|models|workers|voices"


def run_shell(example) -> None:
    """Run a block's `ttsw` lines, other than those that serve (a worker is there already) or download."""
    for line in example.parsed.splitlines():
        if re.search(rf"\bttsw ({OURS})", line) and " pull " not in line:
            command = re.sub(rf"(\.venv/bin/)?\bttsw (?={OURS})", f"{sys.executable} -m ttsw ", line)
            subprocess.run(["bash", "-c", command], check=True, timeout=60, env=clean_environment())


def run_python(example) -> None:
    """Run a block as a program of its own: whatever it uses, it imports."""
    exec(compile(example.parsed, "README.md", "exec"), {"__name__": "__main__"})


@pytest.fixture
def files_to_add(tmp_path):
    """What the README's user has: a Piper voice, and a voice pack."""
    joe = open_library(None, os.environ).shelf["piper-en-us-joe-medium"].files
    pack = tmp_path / "my-pack"
    pack.mkdir()
    for role, name in (("model.onnx", "en_GB-alan-medium.onnx"), ("config.json", "en_GB-alan-medium.onnx.json")):
        shutil.copy(joe[role], tmp_path / name)
        shutil.copy(joe[role], pack / role)
    (pack / "metadata.yaml").write_text("family: piper\nmodel_id: my-pack\naudio: {sample_rate: 22050}\n", "utf-8")


@pytest.mark.usefixtures("files_to_add")
def test_readme(request, start_worker, tmp_path, monkeypatch):
    for family in ("hibari", "piper"):
        pytest.importorskip(family, reason=f"the README speaks with the extra `{family}`, which is not installed")
    redis = RedisServer(tmp_path)
    redis.start()
    request.addfinalizer(redis.kill)
    worker = start_worker("--log-format", "json", redis__url=redis.url)  # all else as it comes
    request.addfinalizer(worker.stop)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    readme = tmp_path / "README.md"
    text = (ROOT / "README.md").read_text("utf-8").replace(ADDRESS, worker.address)
    text = text.replace("redis://localhost:6379", redis.url)
    text = re.sub(r"ttsw say (?!--redis|.*--local)", f"ttsw say --addr {worker.address} ", text)
    text = re.sub(r"ttsw models (\w+)", rf"ttsw models \1 --addr {worker.address}", text)
    readme.write_text(text, "utf-8")
    evaluators = {"python": run_python, "sh": run_shell}
    parsers = [CodeBlockParser(language=language, evaluator=run) for language, run in evaluators.items()]
    examples = list(Sybil(parsers=parsers, path=str(tmp_path)).parse(readme).examples())
    assert len(examples) >= 5
    for example in [*examples, *examples]:
        example.evaluate()
    assert (tmp_path / "hello.wav").stat().st_size > 10_000
    assert (tmp_path / "out.wav").stat().st_size > 100_000
