"""Examples in the shared parts' docstrings hold."""

import doctest
import pkgutil
from importlib import import_module

import pytest

import ttsw.adapters.pytorch

MODULES = [each.name for each in pkgutil.iter_modules(ttsw.adapters.pytorch.__path__)]
EXAMPLES = {"audio": 1, "sampling": 2, "splitting": 1}


@pytest.mark.parametrize("name", MODULES)
def test_examples_hold(name):
    results = doctest.testmod(import_module(f"ttsw.adapters.pytorch.{name}"))
    assert results.failed == 0
    assert results.attempted == EXAMPLES.get(name, 0)
