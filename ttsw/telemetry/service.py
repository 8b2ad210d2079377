"""The metrics as a service of the worker's: the HTTP port and the loop's lag, for as long as it runs.

Decides what a fault of the port means: at the start it is the operator's to mend, later the port is opened again, and
nobody else is disturbed.
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
    look: Callable[[], WorkerSnapshot],
    *,
    task_status: trio.TaskStatus[str | None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled. `started` carries the port's URL; None, and an end at once, where there is to be none.

    Args:
        config: Where to listen, if at all.
        metrics: What to show.
        look: Says how the worker stands; called in the event loop, so it must not block.
        task_status: trio's.

    Raises:
        UnavailableError: The address can't be listened on.
    """
    if config.http_port is None:
        task_status.started(None)
        return
    listeners = await open_port(config.http_host, config.http_port)
    url, port = url_of(listeners[0]), listeners[0].socket.getsockname()[1]

    def remarks() -> list[str]:
        return [f"device {device} does not respond; its memory is the last known" for device in look().silent]

    app = Endpoints(Exposition(metrics, look).render, lambda: look().state, remarks)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_loop_lag, metrics.loop_lagged)
        nursery.start_soon(supervise, "metrics port", partial(_serve, app, listeners, config.http_host, port))
        task_status.started(url)


async def _serve(app: Endpoints, listeners: list[trio.SocketListener], host: str, port: int) -> None:
    """Serve on the listeners, and where that has failed before, on new ones in their place."""
    opened = list(listeners) or await open_port(host, port)
    listeners.clear()
    await serve_http(app, opened)
