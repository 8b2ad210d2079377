"""How the command line talks: results on stdout, everything else on stderr."""

import json
import sys

from rich.console import Console

from ttsw.cli.streams import is_unicode

WIDE = 250
"""Columns where nobody looks: what a program reads isn't cut off at a terminal's edge."""


out = Console(highlight=False, width=None if sys.stdout is not None and sys.stdout.isatty() else WIDE)
err = Console(stderr=True, highlight=False)


class Debug:
    """Whether faults show their traceback (`--debug`)."""

    on = False


def write_text(text: str) -> None:
    """Write text to stdout as it is, for programs, in whatever encoding stdout has."""
    sys.stdout.write(text)
    sys.stdout.flush()


def write_json(value: object, *, indent: int | None = 2) -> None:
    """Write JSON to stdout: with letters as they are where stdout can carry any, escaped where it can't."""
    text = json.dumps(value, ensure_ascii=not is_unicode(sys.stdout), indent=indent, default=str)
    write_text(f"{text}\n")
