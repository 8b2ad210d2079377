"""Tests that run under an engine's interpreter, where ttsw's own dependencies aren't.

`ttsw.testing` imports much that is missing there, so its conformance suite is found as a module by itself.
"""

import sys
from pathlib import Path

from ttsw.adapters.envs.bootstrap import Finder

TESTING = Path(__file__).parents[2] / "ttsw" / "testing"

sys.meta_path.insert(0, Finder({"conformance": TESTING / "conformance.py"}))
