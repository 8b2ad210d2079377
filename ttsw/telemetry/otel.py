"""Tracing with OpenTelemetry: a span per utterance, with a child per segment, with a child for the engine's work.

The SDK queues spans in a bounded queue and exports them in its own thread. Spans that don't fit are dropped, and speech
never waits. The SDK's environment variables configure the export. Spans contain the length of the text, never the text.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import TracebackType
from typing import Self

import trio
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ttsw.telemetry.snapshot import UtteranceSummary
from ttsw.telemetry.tracing import NO_TRACE, UtteranceTrace
from ttsw.version import __version__

MAX_SEGMENTS = 64
"""Segments of an utterance with their own span; further segments are only counted."""

LOG_INTERVAL_S = 60.0
"""Minimum interval between log lines of the exporter, seconds."""

PROPAGATOR = TraceContextTextMapPropagator()
W3C = ("traceparent", "tracestate")


@contextmanager
def open_provider(
    sample_ratio: float, worker_name: str, exporter: SpanExporter | None = None
) -> Iterator[TracerProvider]:
    """Open a tracer provider. The caller must shut it down, which blocks.

    Args:
        sample_ratio: Share of traces sampled, among traces without a client's sampling decision.
        worker_name: Name of the worker.
        exporter: Span exporter; None for OTLP over HTTP.
    """
    names = {"service.name": "ttsw", "service.version": __version__, "service.instance.id": worker_name}
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(sample_ratio)),
        resource=Resource.create(names),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
    rate_limit = _RateLimitFilter()
    exporter_logger = logging.getLogger(OTLPSpanExporter.__module__)
    exporter_logger.addFilter(rate_limit)
    try:
        yield provider
    finally:
        exporter_logger.removeFilter(rate_limit)


class OtelTracer:
    """Tracer that records spans with OpenTelemetry.

    Args:
        provider: Tracer provider that receives the spans.
    """

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("ttsw", __version__)

    def utterance(self, model_id: str, session_id: str, metadata: Mapping[str, object]) -> UtteranceTrace:
        """Start the trace of an utterance; see `ttsw.telemetry.tracing.Tracer`."""
        carrier = {name: str(metadata[name]) for name in W3C if name in metadata}
        span = self._tracer.start_span(
            "tts.utterance",
            context=PROPAGATOR.extract(carrier, Context()),
            kind=trace.SpanKind.SERVER,
            attributes={"tts.model_id": model_id, "tts.session_id": session_id},
        )
        return _Utterance(self._tracer, span) if span.is_recording() else NO_TRACE


class _Utterance:
    """Span of an utterance, and its child spans."""

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer, self._span = tracer, span
        self._context = trace.set_span_in_context(span, Context())
        self._segment: _Segment | None = None

    def segment(self, index: int, characters: int) -> AbstractContextManager[object]:
        if index >= MAX_SEGMENTS:
            self._segment = None
            return nullcontext()
        attributes = {"tts.segment": index, "tts.characters": characters}
        span = self._tracer.start_span("tts.segment", context=self._context, attributes=attributes)
        self._segment = _Segment(self._tracer, span)
        return self._segment

    def step(self, compute_s: float) -> None:
        if self._segment is not None:
            self._segment.step(compute_s)

    def first_frame(self, first_s: float) -> None:
        self._span.add_event("first frame", {"tts.ttfa_s": first_s})

    def end(self, summary: UtteranceSummary) -> None:
        self._span.set_attributes({
            "tts.cause": str(summary.cause),
            "tts.characters": summary.characters,
            "tts.segments": summary.segments,
            "tts.frames": summary.frames,
            "tts.underruns": summary.underruns,
        })
        if summary.first_s is not None:
            self._span.set_attribute("tts.ttfa_s", summary.first_s)
        if (rtf := summary.rtf) is not None:
            self._span.set_attribute("tts.rtf", rtf)
        if summary.error:
            self._span.set_status(trace.StatusCode.ERROR, summary.error)
        self._span.end()


class _Segment:
    """Span of a segment, and its inference child from the start of the first step to the end of the last one."""

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer, self._span = tracer, span
        self._start_ns = self._end_ns = self._steps = 0
        self._compute_s = 0.0

    def __enter__(self) -> Self:
        return self

    def step(self, compute_s: float) -> None:
        self._end_ns = time.time_ns()
        self._start_ns = self._start_ns or self._end_ns - round(compute_s * 1e9)
        self._steps += 1
        self._compute_s += compute_s

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if self._steps:
            inference = self._tracer.start_span(
                "tts.inference",
                context=trace.set_span_in_context(self._span, Context()),
                start_time=self._start_ns,
                attributes={"tts.steps": self._steps, "tts.compute_s": self._compute_s},
            )
            inference.end(self._end_ns)
        if kind is not None and issubclass(kind, trio.Cancelled):
            self._span.set_attribute("tts.cut", True)
        elif kind is not None:
            self._span.set_status(trace.StatusCode.ERROR, kind.__name__)
        self._span.end()


class _RateLimitFilter(logging.Filter):
    """Passes one log line per `LOG_INTERVAL_S`: a failing exporter logs four lines in ten seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._passed_at = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if now - self._passed_at < LOG_INTERVAL_S:
            return False
        self._passed_at = now
        return True
