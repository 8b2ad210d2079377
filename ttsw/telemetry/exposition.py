"""Render the metrics as text, in a thread to avoid delaying frames in the event loop.

Requests within `FRESH_S` share one text, which bounds the load from frequent scrapes.
"""

from collections.abc import Callable

import trio
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.exposition import generate_latest as plain_text
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE_OPENMETRICS
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_text

from ttsw.telemetry.metrics import Metrics
from ttsw.telemetry.snapshot import WorkerSnapshot

FRESH_S = 0.1
"""Maximum age of a shared text, seconds."""


class Exposition:
    """Renders the text of a scrape.

    Args:
        metrics: The metrics.
        take_snapshot: Returns the worker's current state; called in the event loop, and must not block.
    """

    def __init__(self, metrics: Metrics, take_snapshot: Callable[[], WorkerSnapshot]) -> None:
        self._metrics, self._take_snapshot = metrics, take_snapshot
        self._limiter = trio.CapacityLimiter(1)
        self._lock = trio.Lock()
        self._rendered: dict[str, tuple[float, bytes]] = {}

    async def render(self, accept: str) -> tuple[bytes, str]:
        """Render the metrics as text.

        Args:
            accept: Accept header of the request. It selects OpenMetrics if it lists that format, or else Prometheus's
                text format.

        Returns:
            The text and its content type.
        """
        openmetrics = "application/openmetrics-text" in accept
        content_type = CONTENT_TYPE_OPENMETRICS if openmetrics else CONTENT_TYPE_PLAIN_0_0_4
        async with self._lock:
            rendered_at, text = self._rendered.get(content_type, (float("-inf"), b""))
            if trio.current_time() - rendered_at >= FRESH_S:
                self._metrics.set_snapshot(self._take_snapshot())
                render = openmetrics_text if openmetrics else plain_text
                text = await trio.to_thread.run_sync(render, self._metrics.registry, limiter=self._limiter)
                self._rendered[content_type] = trio.current_time(), text
            return text, content_type
