"""How the command line talks: results on stdout, everything else on stderr, faults in one line without a traceback."""

import sys
from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

from ttsw.errors import TtswError

WIDE = 250
"""Columns where nobody looks: what a program reads isn't cut off at a terminal's edge."""

out = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
err = Console(stderr=True, highlight=False)


class Debug:
    """Whether faults show their traceback (`--debug`)."""

    on = False


@contextmanager
def faults_for_people() -> Generator[None, None, None]:
    """End the program with a line that says what is wrong, and exit code 1, where an error of ours comes up."""
    try:
        yield
    except (TtswError, BaseExceptionGroup) as error:
        faults = list(leaves(error))
        if Debug.on or not all(isinstance(fault, TtswError) for fault in faults):
            if isinstance(error, BaseExceptionGroup) and all(isinstance(f, KeyboardInterrupt) for f in faults):
                sys.exit(130)
            raise
        for fault in dict.fromkeys(map(str, faults)):
            err.print(f"[bold red]error:[/] {escape(fault)}", soft_wrap=True)
        sys.exit(1)


def leaves(error: BaseException) -> Generator[BaseException, None, None]:
    """Give the errors inside nested groups."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error
