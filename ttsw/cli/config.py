"""`ttsw config check|show`: whether a configuration can be used, and what it amounts to."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ttsw.cli.console import out, write_text
from ttsw.config import to_yaml, trace_config
from ttsw.registry.faults import redact

config_app = typer.Typer(help="Check or show the configuration.", no_args_is_help=True)

File = Annotated[Path | None, typer.Argument(help="Configuration file (YAML); none means the defaults.")]


@config_app.command()
def check(file: File = None) -> None:
    """Check a configuration, together with the environment; exit with 1 and all faults if it can't be used."""
    trace_config(file, os.environ, {})
    out.print(f"{file or 'the defaults'}: usable")


@config_app.command()
def show(
    file: File = None, origins: Annotated[bool, typer.Option("--origins", help="Say where each value is from.")] = False
) -> None:
    """Show the configuration in force, as YAML or with the origin of each value; a password is not shown."""
    config, origin = trace_config(file, os.environ, {})
    if config.redis.url is not None:
        hidden = config.redis.model_copy(update={"url": redact(config.redis.url)})
        config = config.model_copy(update={"redis": hidden})
    if not origins:
        write_text(to_yaml(config))
        return
    table = Table("key", "value", "from", box=None)
    for key, source in origin.items():
        table.add_row(key, _value(config.model_dump(), key), source)
    out.print(table)


def _value(values: object, key: str) -> str:
    for name in key.split("."):
        values = values[name] if isinstance(values, dict) else values
    return str(values)
