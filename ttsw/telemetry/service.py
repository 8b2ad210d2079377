"""Metrics service: serve the HTTP endpoints and measure the event-loop delay while the worker runs.

A failure to open the port at startup propagates. After a later failure, the port is reopened without affecting the
rest of the worker.
"""

from collections.abc import Callable
from functools import partial

import trio

from ttsw.concurrency.supervise import supervise
from ttsw.config.schema import MetricsConfig
from ttsw.telemetry.endpoints import Endpoints
from ttsw.telemetry.exposition import Exposition
from ttsw.telemetry.http_server import open_port, serve_http, url_of
from ttsw.telemetry.loop_lag import watch_loop_lag
from ttsw.telemetry.metrics import Metrics
from ttsw.telemetry.snapshot import WorkerSnapshot


async def serve_metrics(
    config: MetricsConfig,
    metrics: Metrics,
    take_snapshot: Callable[[], WorkerSnapshot],
    *,
    task_status: trio.TaskStatus[str | None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled. Return immediately if no port is configured.

    Args:
        config: Host and port to listen on.
        metrics: The metrics.
        take_snapshot: Returns the worker's current state; called in the event loop, and must not block.
        task_status: Receives the URL of the port, None without a port.

    Raises:
        UnavailableError: The address can't be bound.
    """
    if config.http_port is None:
        task_status.started(None)
        return
    listeners = await open_port(config.http_host, config.http_port)
    url, port = url_of(listeners[0]), listeners[0].socket.getsockname()[1]

    def remarks() -> list[str]:
        devices = take_snapshot().silent
        return [
            f"device {device} does not respond; its memory metrics show the last known values" for device in devices
        ]

    app = Endpoints(Exposition(metrics, take_snapshot).render, lambda: take_snapshot().state, remarks)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_loop_lag, metrics.loop_lagged)
        nursery.start_soon(supervise, "metrics port", partial(_serve, app, listeners, config.http_host, port))
        task_status.started(url)


async def _serve(app: Endpoints, listeners: list[trio.SocketListener], host: str, port: int) -> None:
    """Serve on the listeners; after an earlier failure, on new ones at the same address."""
    opened = list(listeners) or await open_port(host, port)
    listeners.clear()
    await serve_http(app, opened)
