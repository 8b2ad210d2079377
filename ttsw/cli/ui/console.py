"""How the command line talks: results on stdout, everything else on stderr."""

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from ttsw.cli.ui.streams import is_unicode
from ttsw.system.terminal import make_safe, safe_json

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


_WIDTH = None if sys.stdout is not None and sys.stdout.isatty() else WIDE
out = SafeConsole(highlight=False, emoji=False, width=_WIDTH)
err = SafeConsole(stderr=True, highlight=False, emoji=False)


class Debug:
    """Whether faults show their traceback (`--debug`)."""

    on = False


def write_text(text: str) -> None:
    """Write text to stdout as it is, for programs, in whatever encoding stdout has."""
    sys.stdout.write(text)
    sys.stdout.flush()


def write_json(value: object, *, indent: int | None = 2) -> None:
    """Write JSON to stdout, safe to show: letters stay where stdout can carry any, and are escaped where it can't."""
    write_text(f"{safe_json(value, ascii_only=not is_unicode(sys.stdout), indent=indent)}\n")
