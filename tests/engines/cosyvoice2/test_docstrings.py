"""Examples in the engine's docstrings hold, as `tests/unit/test_docstrings.py` shows for all that needs no engine."""

import doctest
import pkgutil
from importlib import import_module

import pytest

import ttsw.adapters.cosyvoice2

MODULES = [each.name for each in pkgutil.iter_modules(ttsw.adapters.cosyvoice2.__path__)]
EXAMPLES = {"adapter": 1, "text": 7, "vocoder": 1}


@pytest.mark.parametrize("name", MODULES)
def test_examples_hold(name):
    results = doctest.testmod(import_module(f"ttsw.adapters.cosyvoice2.{name}"))
    assert results.failed == 0
    assert results.attempted == EXAMPLES.get(name, 0)
