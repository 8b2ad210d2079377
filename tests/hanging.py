"""A test that hangs on trio fails, and shows where all its tasks wait, rather than holding up all others."""

import threading
from functools import partial

import trio

from ttsw.concurrency.task_tree import render_tree

PATIENCE_S = 240.0


class HangingError(Exception):
    """Has all tasks of a run cancelled, since it is raised among trio's own."""


class Watchdog(trio.abc.Instrument):
    """Ends a run that takes too long by the wall's clock.

    Args:
        patience_s: How long it may take, s.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s

    def before_run(self) -> None:
        token = trio.lowlevel.current_trio_token()
        self._timer = threading.Timer(self._patience_s, token.run_sync_soon, [partial(give_up, self._patience_s)])
        self._timer.daemon = True
        self._timer.start()

    def after_run(self) -> None:
        self._timer.cancel()
        self._timer.join()


def give_up(patience_s: float) -> None:
    raise HangingError(f"it has not ended after {patience_s:g} s:\n{render_tree()}")


def run(*args, patience_s=PATIENCE_S, instruments=(), **more):
    """`trio.run`, watched."""
    return trio.run(*args, instruments=[*instruments, Watchdog(patience_s)], **more)
