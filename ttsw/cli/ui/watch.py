"""Looking at something again and again, until Ctrl-C: a table that changes on a terminal, blocks in a pipe."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio
from rich.console import RenderableType
from rich.live import Live

from ttsw.cli.ui.console import out, write_json, write_text

PIPE_S = 1.0
"""How often a program that reads gets to know what there is, s."""


@dataclass(frozen=True)
class WatchView:
    """What was there to be seen.

    Args:
        shown: For people.
        plain: For programs.
    """

    shown: RenderableType
    plain: object


async def watch(look: Callable[[], Awaitable[WatchView]], every_s: float, *, as_json: bool) -> None:
    """Show what there is, again and again.

    Args:
        look: Gives it.
        every_s: How often a terminal shows it, s.
        as_json: Whether to write a line of JSON for each look.
    """
    if out.is_terminal and not as_json:
        with Live((await look()).shown, console=out, auto_refresh=False) as live:
            while True:
                await trio.sleep(every_s)
                live.update((await look()).shown, refresh=True)
    while True:
        seen = await look()
        if as_json:
            write_json(seen.plain, indent=None)
        else:
            out.print(seen.shown, soft_wrap=True)
            write_text("\n")
        await trio.sleep(PIPE_S)
