"""`ttsw models`: the models of a running worker: which there are, which are in memory; load and unload them."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, TypeVar

import trio
import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from ttsw.cli.connect import HERE, open_worker, parse_address
from ttsw.cli.ui.console import err, out, write_json
from ttsw.cli.ui.watch import WatchView
from ttsw.cli.ui.watch import watch as watch_on
from ttsw.errors import NotFoundError
from ttsw.fronts.abi.client import TTSClient
from ttsw.fronts.abi.generated.tts import ModelInfo

models_app = typer.Typer(help="List, load or unload the models of a running worker.", no_args_is_help=True)

Addr = Annotated[str, typer.Option(help="The worker.", metavar="HOST:PORT")]
LOOK_S = 0.2
"""How often the worker is asked while somebody waits, s."""

_COLOURS = {
    "ready": "green",
    "loading": "cyan",
    "warming": "cyan",
    "draining": "yellow",
    "unloading": "yellow",
    "incomplete": "yellow",
    "failed": "red",
    "broken": "red",
}

T = TypeVar("T")


@models_app.command("list")
def list_models(
    addr: Addr = HERE,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Repeat until Ctrl-C.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write a JSON list; with --watch, one list per line.")
    ] = False,
) -> None:
    """List the worker's models: state, memory, sessions."""
    if watch:
        _with_client(addr, partial(_watch, as_json=as_json))
        return
    infos = _with_client(addr, TTSClient.list_models)
    if as_json:
        write_json([_plain(info) for info in infos])
        return
    out.print(_table(infos))
    for info in infos:
        fault = info.metadata.get("last_error")
        if fault and info.metadata["state"] != "incomplete":  # what lacks weights, `ttsw voices list` explains
            out.print(f"{_state(info)} {escape(info.model_id)}: {escape(fault)}", soft_wrap=True)


@models_app.command()
def show(model_id: str, addr: Addr = HERE) -> None:
    """Show details of one model."""
    info = _find(_with_client(addr, TTSClient.list_models), model_id)
    table = Table(box=None, show_header=False)
    for name, value in _plain(info).items():
        table.add_row(name.replace("_", " "), escape(", ".join(value) if isinstance(value, list) else str(value)))
    out.print(table)


@models_app.command()
def load(
    model_id: str,
    addr: Addr = HERE,
    preload_only: Annotated[
        bool, typer.Option("--preload-only", help="Only into free memory, without evicting other models.")
    ] = False,
) -> None:
    """Load a model, and wait until it is ready."""

    async def loading(client: TTSClient) -> None:
        answer = await client.load_model(model_id, preload_only=preload_only)
        seconds.append(answer.load_duration_ms / 1000)

    seconds: list[float] = []
    _with_client(addr, partial(_wait_for, model_id, loading))
    out.print(f"{escape(model_id)}: ready after {seconds[0]:.2f} s", soft_wrap=True)


@models_app.command()
def unload(
    model_id: str,
    addr: Addr = HERE,
    force: Annotated[
        bool, typer.Option("--force", help="Even if it is in use, once running utterances have ended.")
    ] = False,
) -> None:
    """Unload a model, and wait until its memory is free."""
    _with_client(addr, partial(_wait_for, model_id, lambda client: client.unload_model(model_id, force=force)))
    out.print(f"{escape(model_id)}: unloaded", soft_wrap=True)


def _with_client(addr: str, ask: Callable[[TTSClient], Awaitable[T]]) -> T:
    async def run() -> T:
        async with open_worker(parse_address(addr)) as client:
            return await ask(client)

    return trio.run(run)


async def _watch(client: TTSClient, *, as_json: bool) -> None:
    async def look() -> WatchView:
        infos = await client.list_models()
        return WatchView(_table(infos), [_plain(info) for info in infos])

    await watch_on(look, LOOK_S, as_json=as_json)


async def _wait_for(model_id: str, ask: Callable[[TTSClient], Awaitable[None]], client: TTSClient) -> None:
    """Show a model's state while the worker loads or unloads it; a progress bar if the duration is known."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(escape(model_id), total=None)

        async def look() -> None:
            while True:
                metadata = _find(await client.list_models(), model_id).metadata
                progress.update(task, description=f"{escape(model_id)}: {metadata['state']}")
                if metadata["state"] in {"loading", "warming"} and "load_s" in metadata:
                    elapsed = progress.tasks[0].elapsed or 0.0
                    progress.update(task, total=float(metadata["load_s"]), completed=elapsed)
                await trio.sleep(LOOK_S)

        async with trio.open_nursery() as nursery:
            if err.is_terminal:
                nursery.start_soon(look)
            await ask(client)
            nursery.cancel_scope.cancel(reason="the worker has answered")


def _find(infos: list[ModelInfo], model_id: str) -> ModelInfo:
    for info in infos:
        if info.model_id == model_id:
            return info
    there = ", ".join(sorted(info.model_id for info in infos))
    raise NotFoundError(f"no model {model_id!r} on this worker; there are: {there or 'none'}")


def _table(infos: list[ModelInfo]) -> Table:
    table = Table("model", "state", "device", "MB", "sessions", "idle", "languages", "licence", box=None)
    for info in sorted(infos, key=lambda info: (not info.is_loaded, info.model_id)):
        metadata = info.metadata
        table.add_row(
            escape(info.model_id),
            _state(info),
            metadata.get("device", ""),
            metadata.get("size_mb", ""),
            metadata.get("leases", "") if info.is_loaded else "",
            f"{float(metadata['idle_s']):.0f} s" if "idle_s" in metadata else "",
            ", ".join(info.languages[:4]) + (", …" if len(info.languages) > 4 else ""),
            escape(metadata.get("license", "").partition(": ")[0]),
        )
    return table


def _state(info: ModelInfo) -> str:
    state = info.metadata.get("state", "")
    colour = _COLOURS.get(state, "dim")
    return f"[{colour}]{escape(state)}[/]"


def _plain(info: ModelInfo) -> dict[str, object]:
    return {
        "model_id": info.model_id,
        "family": info.family,
        "is_loaded": info.is_loaded,
        "languages": list(info.languages),
        **info.metadata,
    }
