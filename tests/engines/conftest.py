"""Tests that run under an engine's interpreter, where ttsw's own dependencies aren't.

`ttsw.testing` imports much that isn't there, so those of its modules that need nothing of it are found by themselves.
"""

import sys
from pathlib import Path

from ttsw.adapters.bootstrap import Finder

TESTING = Path(__file__).parents[2] / "ttsw" / "testing"

NAMES = ("conformance", "random_csm", "random_cosyvoice2", "random_xtts")

sys.meta_path.insert(0, Finder({name: TESTING / f"{name}.py" for name in NAMES}))
