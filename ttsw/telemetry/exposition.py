"""The metrics as text, made in a thread so that frames in the event loop aren't kept waiting by it.

Decides how often: those who ask again within `FRESH_S` get the same text, so that nobody can keep the worker busy.
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
"""How long a text is given to whoever asks."""


class Exposition:
    """Makes the text that a scrape gets.

    Args:
        metrics: What is told.
        look: Says how the worker stands; called in the event loop, so it must not block.
    """

    def __init__(self, metrics: Metrics, look: Callable[[], WorkerSnapshot]) -> None:
        self._metrics, self._look = metrics, look
        self._limiter = trio.CapacityLimiter(1)
        self._turn = trio.Lock()
        self._made: dict[str, tuple[float, bytes]] = {}

    async def render(self, accept: str) -> tuple[bytes, str]:
        """Make the text.

        Args:
            accept: The Accept header of who asks: OpenMetrics if it names that, Prometheus's own format otherwise.

        Returns:
            The text, and its content type.
        """
        openmetrics = "application/openmetrics-text" in accept
        content_type = CONTENT_TYPE_OPENMETRICS if openmetrics else CONTENT_TYPE_PLAIN_0_0_4
        async with self._turn:
            made_at, text = self._made.get(content_type, (float("-inf"), b""))
            if trio.current_time() - made_at >= FRESH_S:
                self._metrics.show(self._look())
                make = openmetrics_text if openmetrics else plain_text
                text = await trio.to_thread.run_sync(make, self._metrics.registry, limiter=self._limiter)
                self._made[content_type] = trio.current_time(), text
            return text, content_type
