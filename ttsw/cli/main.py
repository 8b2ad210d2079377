"""Puts the commands together."""

import sys
from typing import Annotated

import typer

from ttsw.cli.bench.command import bench
from ttsw.cli.config import config_app
from ttsw.cli.configure import warn_of_environment
from ttsw.cli.engines.commands import engines_app
from ttsw.cli.models import models_app
from ttsw.cli.profiles.commands import profiles_app
from ttsw.cli.say.command import say
from ttsw.cli.serve.command import serve
from ttsw.cli.ui.console import Debug, write_text
from ttsw.cli.ui.errors import report_errors
from ttsw.cli.ui.streams import mend_streams
from ttsw.cli.voices.commands import voices_app
from ttsw.cli.workers import workers
from ttsw.system.logs import configure_logging
from ttsw.version import __version__

app = typer.Typer(
    name="ttsw",
    help="A streaming text-to-speech worker: text in over gRPC, 20 ms frames of 48 kHz audio out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(value: bool) -> None:
    if value:
        write_text(f"ttsw {__version__}\n")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Speak text as a stream of frames."""
    Debug.on = debug
    configure_logging("DEBUG" if debug else "WARNING", "console")
    if context.invoked_subcommand != "serve":  # whose log is yet to be set up
        warn_of_environment()


app.command()(serve)
app.command()(say)
app.command()(workers)
app.command()(bench)
app.add_typer(models_app, name="models")
app.add_typer(voices_app, name="voices")
app.add_typer(engines_app, name="engines")
app.add_typer(profiles_app, name="profiles")
app.add_typer(config_app, name="config")


def main() -> None:
    """Run the command line; ends the process with its exit code."""
    mend_streams()
    with report_errors():
        code = app(standalone_mode=False)
    sys.exit(code)
