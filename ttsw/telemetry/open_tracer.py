"""Choosing a tracer by configuration. OpenTelemetry is imported only if tracing is enabled."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import structlog
import trio

from ttsw.config.schema import TracingConfig
from ttsw.errors import ConfigError
from ttsw.system.extras import install_hint
from ttsw.telemetry.tracing import NO_TRACER, Tracer

log = structlog.get_logger(__name__)

FLUSH_S = 3.0
"""Longest wait for the last traces to be delivered, seconds."""


@asynccontextmanager
async def open_tracer(config: TracingConfig, worker_name: str) -> AsyncGenerator[Tracer, None]:
    """Open the configured tracer for a block; traces left at its end are delivered within `FLUSH_S`, or lost.

    Raises:
        ConfigError: Tracing is enabled, but OpenTelemetry isn't installed.
    """
    if not config.enabled:
        yield NO_TRACER
        return
    try:
        from ttsw.telemetry.otel import OtelTracer, open_provider  # noqa: PLC0415 - an extra, and 0.1 s to import
    except ImportError as error:
        raise ConfigError(
            f"tracing.enabled needs OpenTelemetry, but {error.name} isn't installed: "
            f"{install_hint('otel')}, or remove tracing.enabled"
        ) from error
    with open_provider(config.sample_ratio, worker_name) as provider:
        try:
            yield OtelTracer(provider)
        finally:
            with trio.move_on_after(FLUSH_S, shield=True) as flush:
                await trio.to_thread.run_sync(
                    provider.shutdown, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1)
                )
            if flush.cancelled_caught:
                log.warning("delivery of last traces timed out", within_s=FLUSH_S)
