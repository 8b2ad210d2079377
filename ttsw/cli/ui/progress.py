"""What a person sees while files are copied, read or downloaded: a bar on stderr with size, speed and time left."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from ttsw.cli.ui.console import err


@contextmanager
def open_bar(what: str, total: int = 0) -> Generator[Callable[[int, int], None], None, None]:
    """Show a bar, on a terminal; gives a function that takes the bytes done and those there are."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(escape(what), total=total or None)
        yield lambda done, whole: progress.update(task, completed=done, total=whole)


@contextmanager
def open_spinner(what: str) -> Generator[None, None, None]:
    """Show that something goes on whose length nobody knows."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        progress.add_task(escape(what))
        yield
