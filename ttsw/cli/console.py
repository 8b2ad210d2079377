"""How the command line talks: results on stdout, everything else on stderr, faults in one line without a traceback."""

import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment
from rich.text import Text

from ttsw.errors import TtswError
from ttsw.terminal import make_safe, safe_json

WIDE = 250
"""Columns where nobody looks: what a program reads isn't cut off at a terminal's edge."""


class SafeConsole(Console):
    """A console that shows no text as anything but text, wherever it comes from."""

    def render_str(self, text: str, *args: Any, **kwargs: Any) -> Text:  # noqa: ANN401 - as rich has them
        """Read markup as rich does; what is measured is what will be shown."""
        return super().render_str(make_safe(text, "\n"), *args, **kwargs)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as rich does, with characters that a terminal would act on as escapes."""
        for segment in super().render(renderable, options):
            text = segment.text if segment.control else make_safe(segment.text, "\n")
            yield segment if text is segment.text else Segment(text, segment.style)


out = SafeConsole(highlight=False, emoji=False, width=None if sys.stdout.isatty() else WIDE)
err = SafeConsole(stderr=True, highlight=False, emoji=False)


def write_json(value: object, *, indent: int | None = 2) -> None:
    """Write JSON to stdout, safe to show."""
    sys.stdout.write(f"{safe_json(value, indent=indent)}\n")


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
