"""Every example in the README works as it stands there, against a worker on a real voice."""

import re
import subprocess
import sys
from pathlib import Path

from sybil import Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

from tests.integration.support import clean_environment

ROOT = Path(__file__).parents[2]
ADDRESS = "127.0.0.1:7002"


def run_shell(example) -> None:
    """Run a block's `ttsw` lines, other than those that serve: a worker is there already."""
    for line in example.parsed.splitlines():
        if re.search(r"\bttsw (say|config)\b", line):
            command = re.sub(r"(\.venv/bin/)?\bttsw (?=say|config)", f"{sys.executable} -m ttsw ", line)
            subprocess.run(["bash", "-c", command], check=True, timeout=60, env=clean_environment())


def test_readme(piper_worker, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    readme = tmp_path / "README.md"
    text = (ROOT / "README.md").read_text("utf-8").replace(ADDRESS, piper_worker.address)
    text = text.replace("ttsw say ", f"ttsw say --addr {piper_worker.address} ")
    readme.write_text(text, "utf-8")
    parsers = [PythonCodeBlockParser(), CodeBlockParser(language="sh", evaluator=run_shell)]
    examples = list(Sybil(parsers=parsers, path=str(tmp_path)).parse(readme).examples())
    assert len(examples) >= 5
    for example in examples:
        example.evaluate()
    assert (tmp_path / "out.wav").stat().st_size > 100_000
