"""Every example in a docstring does what it says."""

import re
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.rest import DocTestParser

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path
    for path in (ROOT / "ttsw").rglob("*.py")
    # those of families with an environment of their own run there: tests/engines
    if not {"generated", "pytorch", "cosyvoice2", "sesame", "xtts"} & set(path.parts)
    and re.search(r"^\s*>>> ", path.read_text("utf-8"), re.MULTILINE)
)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings(path):
    document = Sybil(parsers=[DocTestParser()], path=str(ROOT)).parse(path)
    examples = list(document.examples())
    assert examples
    for example in examples:
        example.evaluate()
