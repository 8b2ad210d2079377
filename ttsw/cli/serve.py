"""`ttsw serve`: logs on stderr, and on stdout one line once it serves."""

from functools import partial
from pathlib import Path
from typing import Annotated

import trio
import typer

from ttsw.app import run
from ttsw.cli.loading import configure
from ttsw.logs import configure_logging


def serve(
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Configuration file (YAML).")] = None,
    adapter: Annotated[str | None, typer.Option(help="Engine family whose voice is the default.")] = None,
    default_model: Annotated[str | None, typer.Option(help="Model of sessions that name none.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    gpu: Annotated[
        list[int] | None, typer.Option(help="GPU that models may be on; may be given several times. All if not given.")
    ] = None,
    takeover: Annotated[
        bool, typer.Option("--takeover", help="Take the name from a worker that is registered under it.")
    ] = False,
    log_format: Annotated[str | None, typer.Option(help="json or console.")] = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C; then let running speech finish, and exit."""
    settings = configure(
        config,
        adapter,
        default_model,
        **{
            "worker.grpc_host": host,
            "worker.grpc_port": port,
            "logging.format": log_format,
            "model_manager.gpus": gpu or None,
            "redis.takeover": takeover or None,
        },
    )
    log = settings.logging
    configure_logging(log.level, log.format, include_session_id=log.include_session_id)
    trio.run(partial(run, task_status=_Announcement()), settings)


class _Announcement(trio.TaskStatus[str]):
    """Says on stdout where the worker serves. One that is stopped while it starts never serves, and says nothing."""

    def started(self, value: str | None = None) -> None:
        typer.echo(f"ready {value}")
