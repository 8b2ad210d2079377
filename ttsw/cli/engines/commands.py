"""`ttsw engines`: which families run in environments of their own; how to make, try and remove these."""

import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import trio
import typer
from rich.markup import escape
from rich.table import Table

from ttsw.adapters.envs.environment import Environment, EnvironmentState, find, own_families
from ttsw.adapters.envs.install import install as install_environment
from ttsw.adapters.envs.install import remove as remove_environment
from ttsw.adapters.families import adapter_class, families
from ttsw.cli.engines.check import BUILDERS, build_pack, inspect, speak_once
from ttsw.cli.ui.console import err, out, write_json
from ttsw.cli.ui.progress import open_spinner
from ttsw.config import load_config
from ttsw.errors import InvalidArgumentError, UnavailableError
from ttsw.packs.status import size_text
from ttsw.system.extras import install_hint

engines_app = typer.Typer(help="List, install, check or remove the environments of engines.", no_args_is_help=True)

Family = Annotated[str, typer.Argument(help="The engine family.")]

_COLOURS = {"installed": "green", "ready": "green", "outdated": "yellow", "incomplete": "yellow"}


@dataclass(frozen=True)
class EngineRow:
    """A family in the list.

    Args:
        family: The family.
        runs_in: Where its engine's code runs.
        state: Whether what it needs is installed.
        python: The version of its environment's Python.
        size_bytes: How large its environment is.
        where: Its environment's folder.
        mend: What would make it usable, or current.
    """

    family: str
    runs_in: str
    state: str
    python: str = ""
    size_bytes: int = 0
    where: str = ""
    mend: str = ""


@engines_app.command("list")
def list_engines(as_json: Annotated[bool, typer.Option("--json", help="Write a JSON list.")] = False) -> None:
    """List the engine families: where each runs, and whether it is installed."""
    rows = [_row(family) for family in sorted({*families(), *own_families()})]
    if as_json:
        write_json([asdict(row) for row in rows])
        return
    table = Table("family", "runs in", "state", "python", "size", "where", box=None)
    for row in rows:
        size = size_text(row.size_bytes) if row.size_bytes else ""
        state = f"[{_COLOURS.get(row.state, 'cyan')}]{row.state}[/]"
        table.add_row(escape(row.family), row.runs_in, state, row.python, size, escape(row.where or row.mend))
    out.print(table)
    for row in rows:
        if row.where and row.mend:
            out.print(f"{escape(row.family)} is {row.state}: {escape(row.mend)} renews it", soft_wrap=True)


def _row(family: str) -> EngineRow:
    if family not in own_families():
        try:
            adapter_class(family)
        except UnavailableError:
            return EngineRow(family, "the worker's process", "not installed", mend=install_hint(family))
        return EngineRow(family, "the worker's process", "installed")
    found, where = find(family, os.environ), "its own process"
    mend = f"ttsw engines install {family}"
    if found.stamp is None:
        return EngineRow(family, where, found.state.value, size_bytes=found.size_bytes(), mend=mend)
    if found.state is EnvironmentState.READY:
        mend = ""
    return EngineRow(family, where, found.state.value, found.stamp.python, found.size_bytes(), str(found.root), mend)


@engines_app.command()
def install(
    family: Family,
    python: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Interpreter to create it with; by default this one.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Install it again even if it is ready.")] = False,
) -> None:
    """Install the environment of a family; pip's settings apply (PIP_INDEX_URL, PIP_EXTRA_INDEX_URL …)."""
    before = find(family, os.environ)
    try:
        after = install_environment(family, os.environ, _tell, python=python, force=force)
    except KeyboardInterrupt:
        err.print("stopped; nothing was installed, and what was there before stays")
        raise typer.Exit(130) from None
    assert after.stamp is not None, "a ready environment has a stamp"
    if before.state is EnvironmentState.READY and not force:
        said = f"is ready already, since {after.stamp.date}, with Python {after.stamp.python}; --force makes it anew"
    else:
        said = (
            f"ready after {after.stamp.ms / 1000:.0f} s: Python {after.stamp.python}, {size_text(after.size_bytes())} "
            f"in {after.root}; ttsw engines check {family} tries it"
        )
    out.print(f"{family}: {escape(said)}", soft_wrap=True)


def _tell(line: str) -> None:
    err.print(f"[dim]{escape(line)}[/]", soft_wrap=True)


@engines_app.command()
def check(
    family: Family,
    device: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="cpu, cuda, cuda:0 …; by default the best one.")
    ] = None,
) -> None:
    """Check a family's environment: import its adapter there, and speak a sentence with a tiny model."""
    environment = find(family, os.environ)
    load_config(None, {}, {f"engines.{family}.device": device})  # refuses what is no device, before a minute is spent
    if environment.state is EnvironmentState.OUTDATED:
        err.print(f"{family}: its environment is outdated; ttsw engines install {family} renews it", soft_wrap=True)
    with open_spinner(f"importing the adapter of {family} …"):
        found = inspect(environment)
    libraries = ", ".join(f"{name} {version}" for name, version in found.libraries.items())
    out.print(f"{family}: Python {found.python}, {escape(libraries)}", soft_wrap=True)
    out.print(f"{family}: torch sees {escape(', '.join(found.devices))}", soft_wrap=True)
    if family in BUILDERS:
        _speak(environment, device)
    else:
        err.print(f"{family}: there is no tiny model of this family to speak with", soft_wrap=True)


def _speak(environment: Environment, device: str | None) -> None:
    with TemporaryDirectory(prefix="ttsw-engine-") as folder:
        with open_spinner(f"making a tiny model of {environment.family} …"):
            pack = build_pack(environment, Path(folder))
        with open_spinner("speaking a sentence with it …"):
            spoken = trio.run(speak_once, pack, device)
    out.print(
        f"{environment.family}: a tiny model spoke {spoken.seconds:.2f} s of audio, the first after "
        f"{spoken.first_s * 1000:.0f} ms, RTF {spoken.rtf:.3f}",
        soft_wrap=True,
    )


@engines_app.command()
def remove(
    family: Family, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False
) -> None:
    """Remove the environment of a family."""
    found = find(family, os.environ)
    if found.state is not EnvironmentState.ABSENT and not yes:
        if not sys.stdin.isatty():
            raise InvalidArgumentError(f"nobody is there to be asked whether to remove {found.root}; give --yes")
        typer.confirm(f"Remove {found.root}?", abort=True, err=True)
    freed = found.size_bytes()
    remove_environment(family, os.environ)
    out.print(f"{family}: removed, with {size_text(freed)}", soft_wrap=True)
