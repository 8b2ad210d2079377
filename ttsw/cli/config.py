"""`ttsw config check|show`: whether a configuration can be used, and what it amounts to."""

import os
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from ttsw.adapters.envs.environment import own_families
from ttsw.adapters.families import families
from ttsw.cli.ui.console import err, out, write_text
from ttsw.config import Config, to_yaml, trace_config
from ttsw.device import find_devices
from ttsw.device.wanted import missing_gpus
from ttsw.packs.catalogue import find_packs
from ttsw.registry.faults import redact

config_app = typer.Typer(help="Check or show the configuration.", no_args_is_help=True)

File = Annotated[Path | None, typer.Argument(help="Configuration file (YAML); by default none.")]


@config_app.command()
def check(file: File = None) -> None:
    """Check a configuration, together with the environment; exit with 1 and all errors if it isn't valid.

    What it names and this machine lacks, a model or a GPU, is a warning: it may be another machine's.
    """
    config, _ = trace_config(file, os.environ, {})
    for text in _missing(config):
        err.print(f"[yellow]warning:[/] {escape(text)}", soft_wrap=True)
    out.print(f"{file or 'the defaults'}: usable")


@config_app.command()
def show(
    file: File = None,
    origins: Annotated[bool, typer.Option("--origins", help="Show the origin of each value.")] = False,
) -> None:
    """Show the effective configuration, as YAML or with the origin of each value; passwords are hidden."""
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


def _missing(config: Config) -> Iterator[str]:
    """Return warnings about names in a configuration that don't exist here."""
    models, shelf = config.model_manager, find_packs(config)
    named = dict.fromkeys(models.preload_model_ids, "preload_model_ids") | dict.fromkeys(
        models.max_sessions, "max_sessions"
    )
    named |= {models.default_model_id: "default_model_id"}
    there = sorted({*shelf.packs, *shelf.broken})
    for model_id, key in named.items():
        if model_id not in there:
            yield f"model_manager.{key}: no model {model_id!r}{_near(model_id, there)} there are: {', '.join(there)}"
        elif model_id in shelf.broken:
            yield f"model_manager.{key}: {shelf.broken[model_id]}"
    known = sorted({*families(), *own_families()})
    for family in config.engines:
        if family not in known:
            yield f"engines.{family}: no family {family!r}{_near(family, known)} there are: {', '.join(known)}"
    yield from missing_gpus(config, find_devices())


def _near(name: str, names: list[str]) -> str:
    near = get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]}?" if near else ";"


def _value(values: object, key: str) -> str:
    for name in key.split("."):
        values = values[name] if isinstance(values, dict) else values
    return str(values)
