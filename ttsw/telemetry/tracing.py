"""What is traced of an utterance, for those who speak: they call this, whether or not somebody collects traces.

OpenTelemetry itself is in `ttsw.telemetry.otel`, and is imported only where traces are asked for. Off, a call costs a
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
"""How long the last traces may take to be delivered."""


class UtteranceTrace(Protocol):
    """The trace of one utterance."""

    def segment(self, index: int, characters: int) -> AbstractContextManager[object]:
        """Trace the speaking of a segment, for a block."""
        ...

    def step(self, compute_s: float) -> None:
        """The engine has just done a step for the present segment, which took this long."""
        ...

    def first_frame(self, first_s: float) -> None:
        """The first frame was sent, this long after the utterance's beginning."""
        ...

    def end(self, ended: UtteranceSummary) -> None:
        """The utterance has ended."""
        ...


class Tracer(Protocol):
    """Traces utterances."""

    def utterance(self, model_id: str, session_id: str, metadata: Mapping[str, object]) -> UtteranceTrace:
        """Begin the trace of an utterance, as part of the client's where the call's metadata names one."""
        ...


class NoTrace:
    """The trace that isn't kept."""

    _nothing = nullcontext()

    def segment(self, index: int, characters: int) -> AbstractContextManager[object]:
        """See `UtteranceTrace.segment`."""
        return self._nothing

    def step(self, compute_s: float) -> None:
        """See `UtteranceTrace.step`."""

    def first_frame(self, first_s: float) -> None:
        """See `UtteranceTrace.first_frame`."""

    def end(self, ended: UtteranceSummary) -> None:
        """See `UtteranceTrace.end`."""


NO_TRACE = NoTrace()


class NoTracer:
    """Keeps no traces."""

    def utterance(self, model_id: str, session_id: str, metadata: Mapping[str, object]) -> UtteranceTrace:
        """See `Tracer.utterance`."""
        return NO_TRACE


NO_TRACER = NoTracer()


@asynccontextmanager
async def open_tracer(config: TracingConfig, worker_name: str) -> AsyncGenerator[Tracer, None]:
    """Trace as the configuration says, for a block; what is left at its end is delivered within `FLUSH_S`, or lost.

    Raises:
        ConfigError: Traces are asked for, and OpenTelemetry isn't installed.
    """
    if not config.enabled:
        yield NO_TRACER
        return
    try:
        from ttsw.telemetry.otel import OtelTracer, open_provider  # noqa: PLC0415 - an extra, and 0.1 s to import
    except ImportError as error:
        raise ConfigError(
            f"tracing.enabled needs OpenTelemetry, and {error.name} isn't installed: "
            f"{install_hint('otel')}, or leave tracing.enabled out"
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
                log.warning("the last traces could not be delivered", within_s=FLUSH_S)
