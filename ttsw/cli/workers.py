"""`ttsw workers`: the workers of a registry: where they are, what they can speak, how busy they are."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import trio
import typer
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from ttsw.cli.ui.console import out, write_json
from ttsw.cli.ui.watch import WatchView
from ttsw.cli.ui.watch import watch as watch_on
from ttsw.config import load_config
from ttsw.errors import InvalidArgumentError
from ttsw.registry.discovery import Listing, Wanted, find_workers, fits
from ttsw.registry.faults import RegistryError
from ttsw.registry.opening import open_connection
from ttsw.registry.record import WorkerRecord

if TYPE_CHECKING:
    from ttsw.registry.connection import RegistryConnection

LOOK_S = 0.5
"""How often the registry is read while somebody watches, s."""

_COLOURS = {"ready": "green", "starting": "cyan", "draining": "yellow", "stale": "red"}


def workers(
    redis: Annotated[
        str | None,
        typer.Option(help="URL of the registry; TTSW_REDIS__URL sets it without showing a password.", metavar="URL"),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Repeat until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON; with --watch, one object per line.")] = False,
    model: Annotated[str, typer.Option(help="Only workers that have this model, or can load it.")] = "",
    language: Annotated[str, typer.Option(help="Only workers that speak this language, such as en.")] = "",
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Configuration file that names the registry.")
    ] = None,
) -> None:
    """List the registered workers: state, load, models, speed."""
    url = registry_url(redis, config)
    wanted = Wanted(model, language, states=frozenset())
    if watch:
        trio.run(partial(_watch, url, wanted, as_json=as_json))
        return
    listing = trio.run(_look, url, wanted)
    if as_json:
        write_json(_plain(listing))
        return
    out.print(_shown(listing), soft_wrap=True)


def registry_url(given: str | None, file: Path | None = None) -> str:
    """Return the registry's URL: the one given, or the configured one.

    Raises:
        ConfigError: It is no registry's URL.
        InvalidArgumentError: There is none.
    """
    url = load_config(file, os.environ, {"redis.url": given}).redis.url
    if url is None:
        raise InvalidArgumentError(
            "no registry: give --redis URL, for example redis://localhost:6379, or TTSW_REDIS__URL"
        )
    return url


async def _look(url: str, wanted: Wanted) -> Listing:
    async with open_connection(url) as connection:
        return await _find(connection, wanted)


async def _find(connection: "RegistryConnection", wanted: Wanted) -> Listing:
    listing = await find_workers(connection)
    return Listing(tuple(each for each in listing.workers if fits(each, wanted)), listing.faults, listing.now)


async def _watch(url: str, wanted: Wanted, *, as_json: bool) -> None:
    async with open_connection(url) as connection:
        last: RenderableType = ""

        async def look() -> WatchView:
            nonlocal last
            try:
                listing = await _find(connection, wanted)
            except RegistryError as error:  # it may come back, and what was seen last is still worth something
                return WatchView(Group(last, f"[red]{escape(str(error))}[/]"), {"error": str(error)})
            last = _shown(listing)
            return WatchView(last, _plain(listing))

        await watch_on(look, LOOK_S, as_json=as_json)


def _shown(listing: Listing) -> RenderableType:
    if not listing.workers and not listing.faults:
        return "no workers"
    faults = [f"[red]malformed[/] {escape(fault.text)}" for fault in listing.faults]
    return Group(*([_table(listing)] if listing.workers else []), *faults)


def _table(listing: Listing) -> Table:
    table = Table(
        "worker", "address", "state", "sessions", "in memory", "TTFA p95", "RTF", "free MB", "heartbeat", box=None
    )
    for record in listing.workers:
        table.add_row(*_row(record, listing.now))
    return table


def _row(record: WorkerRecord, now: float) -> Iterator[str]:
    state = "stale" if record.is_stale(now) else record.state
    sessions = _figure(record, "active_sessions")
    yield escape(record.name)
    yield escape(record.addr.removeprefix("grpc://"))
    yield f"[{_COLOURS.get(state, 'dim')}]{escape(state)}[/]"
    yield sessions if record.limit is None else f"{sessions or '?'}/{record.limit}"
    yield escape(", ".join(record.resident_models[:3]) + (", …" if len(record.resident_models) > 3 else ""))
    yield _figure(record, "ttfa_ms_p95", "ms")
    yield _figure(record, "rtf", digits=3)
    yield _figure(record, "device_memory_free_mb")
    yield f"{record.age_s(now):.0f} s ago"


def _figure(record: WorkerRecord, name: str, unit: str = "", digits: int = 0) -> str:
    value = record.metrics.get(name)
    return "" if value is None else f"{value:.{digits}f} {unit}".rstrip()


def _plain(listing: Listing) -> dict[str, object]:
    return {
        "workers": [
            {
                "name": record.name,
                "addr": record.addr,
                "state": record.state,
                "stale": record.is_stale(listing.now),
                "age_s": round(record.age_s(listing.now), 3),
                "capabilities": record.capabilities,
                "resident_models": record.resident_models,
                "metrics": record.metrics,
                "last_heartbeat_ts": record.last_heartbeat_ts,
            }
            for record in listing.workers
        ],
        "malformed": [{"key": fault.key, "fault": fault.text} for fault in listing.faults],
    }
