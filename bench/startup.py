"""How long until the worker serves: from the process's start to its ready line, with its model loaded and warm.

Medians of several starts, files in the page cache. Importing the command line is measured beside it, against an
interpreter that imports nothing.
"""

import subprocess
import sys
from statistics import median
from time import monotonic

from bench.process import ROOT, product
from bench.report import Report


def run(*, quick: bool) -> Report:
    """Measure."""
    report = Report("startup", "from nothing to ready")
    runs = 1 if quick else 5
    for adapter in ("mock", "piper"):
        times = [_start(adapter) for _ in range(runs)]
        report.add(
            f"process start to ready, {adapter}", median(times), "s", note=f"up to {max(times):.2f}; {runs} starts"
        )
    bare = median(_python("pass") for _ in range(runs))
    report.add("import of the command line", median(_python("import ttsw.cli") for _ in range(runs)) - bare, "s")
    report.add("import of the server", median(_python("import ttsw.app") for _ in range(runs)) - bare, "s")
    report.add("a bare interpreter", bare, "s", note="taken off the two above")
    return report


def _start(adapter: str) -> float:
    with product(adapter) as server:
        return server.ready_s


def _python(code: str) -> float:
    began = monotonic()
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    return monotonic() - began
