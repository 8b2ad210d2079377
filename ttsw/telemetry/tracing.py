"""Tracing interface for utterances, with a no-op implementation for disabled tracing.

The OpenTelemetry implementation is `ttsw.telemetry.otel`, imported only if tracing is enabled. A no-op call costs a
tenth of a microsecond.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Protocol

import structlog
import trio

from ttsw.config.schema import TracingConfig
from ttsw.errors import ConfigError
from ttsw.system.extras import install_hint
from ttsw.telemetry.snapshot import UtteranceSummary

log = structlog.get_logger(__name__)

FLUSH_S = 3.0
"""Timeout of delivering the last traces at shutdown, seconds."""


class UtteranceTrace(Protocol):
    """Trace of one utterance."""

    def segment(self, index: int, characters: int) -> AbstractContextManager[object]:
        """Return a context manager that traces a segment."""
        ...

    def step(self, compute_s: float) -> None:
        """Record a completed engine step of the current segment, with its compute time."""
        ...

    def first_frame(self, first_s: float) -> None:
        """Record the first sent frame, with the time since the start of the utterance."""
        ...

    def end(self, summary: UtteranceSummary) -> None:
        """End the trace of a finished utterance."""
        ...


class Tracer(Protocol):
    """Creates the traces of utterances."""

    def utterance(self, model_id: str, session_id: str, metadata: Mapping[str, object]) -> UtteranceTrace:
        """Start the trace of an utterance, as a child of the client's trace if the call's metadata contains one."""
        ...


class NoTrace:
    """No-op `UtteranceTrace`."""

    _no_op = nullcontext()

    def segment(self, index: int, characters: int) -> AbstractContextManager[object]:
        """See `UtteranceTrace.segment`."""
        return self._no_op

    def step(self, compute_s: float) -> None:
        """See `UtteranceTrace.step`."""

    def first_frame(self, first_s: float) -> None:
        """See `UtteranceTrace.first_frame`."""

    def end(self, summary: UtteranceSummary) -> None:
        """See `UtteranceTrace.end`."""


NO_TRACE = NoTrace()


class NoTracer:
    """No-op `Tracer`."""

    def utterance(self, model_id: str, session_id: str, metadata: Mapping[str, object]) -> UtteranceTrace:
        """See `Tracer.utterance`."""
        return NO_TRACE


NO_TRACER = NoTracer()


@asynccontextmanager
async def open_tracer(config: TracingConfig, worker_name: str) -> AsyncGenerator[Tracer, None]:
    """Open the configured tracer. At the end of the block, deliver pending traces within `FLUSH_S` or drop them.

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
