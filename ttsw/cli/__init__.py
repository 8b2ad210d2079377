"""The command line: `ttsw serve`, `ttsw say`, `ttsw config`. Whatever a person reads is written here."""

import os

# Ahead of numpy's first import: a product of small matrices (the limiter has one) would wake OpenBLAS's threads, which
# then spin beside the engines; without them Piper speaks up to twice as fast.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from ttsw.cli.main import main

__all__ = ["main"]
