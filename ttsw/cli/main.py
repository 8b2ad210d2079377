"""The command line's root: its options, and its commands, each imported only when it is run."""

import sys
from importlib import import_module
from typing import Annotated

import typer
from typer.core import TyperGroup

from ttsw.cli.configure import warn_of_environment
from ttsw.cli.ui.console import Debug, write_text
from ttsw.cli.ui.errors import report_errors
from ttsw.cli.ui.streams import mend_streams
from ttsw.system.logs import configure_logging
from ttsw.version import __version__

COMMANDS = {
    "serve": "ttsw.cli.serve.command:serve",
    "say": "ttsw.cli.say.command:say",
    "workers": "ttsw.cli.workers:workers",
    "bench": "ttsw.cli.bench.command:bench",
    "models": "ttsw.cli.models:models_app",
    "voices": "ttsw.cli.voices.commands:voices_app",
    "engines": "ttsw.cli.engines.commands:engines_app",
    "profiles": "ttsw.cli.profiles.commands:profiles_app",
    "config": "ttsw.cli.config:config_app",
}
"""By name, the module and the function, or the group of commands, in it. Importing all of them takes a second."""


class LazyGroup(TyperGroup):
    """A group that imports a command when it is asked for."""

    def list_commands(self, ctx: object) -> list[str]:
        """Return the commands' names, in the order of the help."""
        return [*COMMANDS]

    def get_command(self, ctx: typer.Context, cmd_name: str):  # type: ignore[no-untyped-def,override]  # noqa: ANN201
        """Return a command, or None for an unknown name."""
        wanted = [cmd_name] if cmd_name in COMMANDS else COMMANDS  # a refusal suggests similar names
        for name in wanted:
            if name not in self.commands:
                self.commands[name] = _load(name)
        return self.commands.get(cmd_name)


def _load(name: str):  # type: ignore[no-untyped-def]  # noqa: ANN202 - Typer doesn't export click's types
    module, _, attribute = COMMANDS[name].partition(":")
    found = getattr(import_module(module), attribute)
    if not isinstance(found, typer.Typer):
        function, found = found, typer.Typer(add_completion=False)
        found.command(name)(function)
    command = typer.main.get_command(found)
    command.name = name
    return command


app = typer.Typer(
    name="ttsw",
    cls=LazyGroup,
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
    if context.invoked_subcommand != "serve":  # which sets up its log itself
        warn_of_environment()


def main() -> None:
    """Run the command line; ends the process with its exit code."""
    mend_streams()
    with report_errors():
        code = app(standalone_mode=False)
    sys.exit(code)
