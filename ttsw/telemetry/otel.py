"""Traces through OpenTelemetry's SDK: one span an utterance, in it one a segment, in that one of the engine's work.

Spans wait in the SDK's bounded queue, and a thread of its own exports them; what doesn't fit is lost, and speech never
waits. Where they go is for the SDK's environment variables to say. No text is told, only its length.
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

MOST_SEGMENTS = 64
"""Segments of an utterance that get a span; of those after them, only their number is told."""

COMPLAINT_S = 60.0
"""An exporter that can't deliver says so once in this time."""

PROPAGATOR = TraceContextTextMapPropagator()
W3C = ("traceparent", "tracestate")


@contextmanager
def open_provider(
    sample_ratio: float, worker_name: str, exporter: SpanExporter | None = None
) -> Iterator[TracerProvider]:
    """Make what keeps and exports spans. To shut it down is the caller's, since that blocks.

    Args:
        sample_ratio: Share of the traces kept that no client decides about.
        worker_name: The worker's name.
        exporter: Where spans go; OTLP over HTTP if None.
    """
    names = {"service.name": "ttsw", "service.version": __version__, "service.instance.id": worker_name}
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(sample_ratio)),
        resource=Resource.create(names),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
    seldom = _Seldom()
    complaints = logging.getLogger(OTLPSpanExporter.__module__)
    complaints.addFilter(seldom)
    try:
        yield provider
    finally:
        complaints.removeFilter(seldom)


class OtelTracer:
    """Traces utterances.

    Args:
        provider: Keeps the spans.
    """

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("ttsw", __version__)

    def utterance(self, model_id: str, session_id: str, metadata: Mapping[str, object]) -> UtteranceTrace:
        """Begin the trace of an utterance; see `ttsw.telemetry.tracing.Tracer`."""
        carrier = {name: str(metadata[name]) for name in W3C if name in metadata}
        span = self._tracer.start_span(
            "tts.utterance",
            context=PROPAGATOR.extract(carrier, Context()),
            kind=trace.SpanKind.SERVER,
            attributes={"tts.model_id": model_id, "tts.session_id": session_id},
        )
        return _Utterance(self._tracer, span) if span.is_recording() else NO_TRACE


class _Utterance:
    """An utterance's span, and those below it."""

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer, self._span = tracer, span
        self._context = trace.set_span_in_context(span, Context())
        self._segment: _Segment | None = None

    def segment(self, index: int, characters: int) -> AbstractContextManager[object]:
        if index >= MOST_SEGMENTS:
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

    def end(self, ended: UtteranceSummary) -> None:
        self._span.set_attributes({
            "tts.cause": str(ended.cause),
            "tts.characters": ended.characters,
            "tts.segments": ended.segments,
            "tts.frames": ended.frames,
            "tts.underruns": ended.underruns,
        })
        if ended.first_s is not None:
            self._span.set_attribute("tts.ttfa_s", ended.first_s)
        if (rtf := ended.rtf) is not None:
            self._span.set_attribute("tts.rtf", rtf)
        if ended.error:
            self._span.set_status(trace.StatusCode.ERROR, ended.error)
        self._span.end()


class _Segment:
    """A segment's span, and how long the engine was at it: from its first step's start to its last one's end."""

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer, self._span = tracer, span
        self._began_ns = self._done_ns = self._steps = 0
        self._compute_s = 0.0

    def __enter__(self) -> Self:
        return self

    def step(self, compute_s: float) -> None:
        self._done_ns = time.time_ns()
        self._began_ns = self._began_ns or self._done_ns - round(compute_s * 1e9)
        self._steps += 1
        self._compute_s += compute_s

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if self._steps:
            inference = self._tracer.start_span(
                "tts.inference",
                context=trace.set_span_in_context(self._span, Context()),
                start_time=self._began_ns,
                attributes={"tts.steps": self._steps, "tts.compute_s": self._compute_s},
            )
            inference.end(self._done_ns)
        if kind is not None and issubclass(kind, trio.Cancelled):
            self._span.set_attribute("tts.cut", True)
        elif kind is not None:
            self._span.set_status(trace.StatusCode.ERROR, kind.__name__)
        self._span.end()


class _Seldom(logging.Filter):
    """Lets one line pass in `COMPLAINT_S`: an exporter says four times in ten seconds that it can't deliver."""

    def __init__(self) -> None:
        super().__init__()
        self._passed_at = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if now - self._passed_at < COMPLAINT_S:
            return False
        self._passed_at = now
        return True
