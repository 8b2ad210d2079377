"""The command line: `ttsw serve`, `ttsw say`, `ttsw config`. Whatever a person reads is written here."""

import os
import signal
import threading

# Ahead of numpy's first import: a product of small matrices (the limiter has one) would wake OpenBLAS's threads, which
# then spin beside the engines; without them Piper speaks up to twice as fast.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

_untouched = (
    threading.current_thread() is threading.main_thread()
    and signal.getsignal(signal.SIGINT) is signal.default_int_handler
)
if _untouched:  # Ctrl-C while the second that imports take passes: end without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)
try:
    from ttsw.cli.main import main
finally:
    if _untouched:
        signal.signal(signal.SIGINT, signal.default_int_handler)

__all__ = ["main"]
