import logging
import timeit
from contextlib import contextmanager

import pytest
import trio
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from tests.unit.telemetry.support import report
from ttsw.sessions.utterance import EndCause
from ttsw.telemetry import otel
from ttsw.telemetry.otel import OtelTracer, open_provider
from ttsw.telemetry.tracing import NO_TRACE

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Traced:
    """A tracer and its finished spans."""

    def __init__(self, provider, exporter) -> None:
        self._provider, self._exporter = provider, exporter
        self.tracer = OtelTracer(provider)

    def spans(self, name: str) -> list:
        self._provider.force_flush()
        return sorted(
            (span for span in self._exporter.get_finished_spans() if span.name == name),
            key=lambda span: span.start_time,
        )

    def span(self, name: str):
        (span,) = self.spans(name)
        return span


@pytest.fixture
def traced():
    with open_traced(1.0) as traced:
        yield traced


@contextmanager
def open_traced(ratio: float):
    exporter = InMemorySpanExporter()
    with open_provider(ratio, "tts-worker-7", exporter) as provider:
        try:
            yield Traced(provider, exporter)
        finally:
            provider.shutdown()


def speak(trace, segments: int = 2) -> None:
    for index in range(segments):
        with trace.segment(index, 20):
            trace.step(0.1)
            trace.first_frame(0.08)
            trace.step(0.2)


def test_an_utterance_is_a_span_with_its_attributes(traced):
    traced.tracer.utterance("piper-joe", "s-1", {}).end(report(underruns=1))
    span = traced.span("tts.utterance")
    assert dict(span.attributes) == {
        "tts.model_id": "piper-joe",
        "tts.session_id": "s-1",
        "tts.cause": "finished",
        "tts.characters": 40,
        "tts.segments": 2,
        "tts.frames": 150,
        "tts.underruns": 1,
        "tts.ttfa_s": 0.08,
        "tts.rtf": pytest.approx(0.1),
    }
    assert span.parent is None
    assert span.resource.attributes["service.name"] == "ttsw"
    assert span.resource.attributes["service.instance.id"] == "tts-worker-7"


def test_segments_are_its_children_and_inference_theirs(traced):
    trace = traced.tracer.utterance("piper-joe", "s-1", {})
    speak(trace)
    trace.end(report())
    utterance = traced.span("tts.utterance")
    segments, inferences = traced.spans("tts.segment"), traced.spans("tts.inference")
    assert [span.attributes["tts.segment"] for span in segments] == [0, 1]
    assert [span.parent.span_id for span in segments] == [utterance.context.span_id] * 2
    assert {span.parent.span_id for span in inferences} == {span.context.span_id for span in segments}
    assert dict(inferences[0].attributes) == {"tts.steps": 2, "tts.compute_s": pytest.approx(0.3)}
    assert inferences[0].end_time - inferences[0].start_time >= 100_000_000
    assert [event.name for event in utterance.events] == ["first frame"] * 2


def test_it_belongs_to_the_clients_trace(traced):
    header = f"00-{TRACE_ID}-{SPAN_ID}-01"
    traced.tracer.utterance("m", "s", {"traceparent": header, "tracestate": "vendor=1", "x": b"\xff"}).end(report())
    span = traced.span("tts.utterance")
    assert f"{span.context.trace_id:032x}" == TRACE_ID
    assert f"{span.parent.span_id:016x}" == SPAN_ID
    assert span.context.trace_state["vendor"] == "1"


@pytest.mark.parametrize("header", ["", "nonsense", f"00-{'0' * 32}-{SPAN_ID}-01", "00-" * 1000, b"\xff\xfe"])
def test_an_invalid_header_starts_a_new_trace(traced, header):
    traced.tracer.utterance("m", "s", {"traceparent": header, "tracestate": "=,=;"}).end(report())
    assert traced.span("tts.utterance").parent is None


def test_a_client_that_samples_nothing_is_obeyed(traced):
    trace = traced.tracer.utterance("m", "s", {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-00"})
    assert trace is NO_TRACE


def test_the_ratio_applies_without_a_client_decision():
    with open_traced(0.0) as traced:
        assert traced.tracer.utterance("m", "s", {}) is NO_TRACE
        traced.tracer.utterance("m", "s", {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01"}).end(report())
        assert traced.span("tts.utterance")


def test_a_failure_is_an_error_and_a_cut_is_not(traced):
    trace = traced.tracer.utterance("m", "s", {})
    with pytest.raises(ZeroDivisionError), trace.segment(0, 5):
        raise ZeroDivisionError
    trace.end(report(EndCause.FAILED, error="the model failed", first_s=None, made=0))
    utterance = traced.span("tts.utterance")
    assert (utterance.status.status_code, utterance.status.description) == (StatusCode.ERROR, "the model failed")
    assert "tts.rtf" not in utterance.attributes
    assert traced.span("tts.segment").status.description == "ZeroDivisionError"


async def test_a_stopped_segment_is_marked_as_cut(traced):
    trace = traced.tracer.utterance("m", "s", {})
    with trio.CancelScope() as scope, trace.segment(0, 5):
        scope.cancel()
        await trio.sleep_forever()
    trace.end(report(EndCause.STOPPED))
    span = traced.span("tts.segment")
    assert span.attributes["tts.cut"] is True
    assert span.status.status_code is StatusCode.UNSET


def test_a_very_long_text_has_a_bounded_number_of_spans(traced, monkeypatch):
    monkeypatch.setattr(otel, "MAX_SEGMENTS", 3)
    trace = traced.tracer.utterance("m", "s", {})
    speak(trace, segments=10)
    trace.end(report(segments=10))
    assert len(traced.spans("tts.segment")) == len(traced.spans("tts.inference")) == 3
    assert sum(span.attributes["tts.steps"] for span in traced.spans("tts.inference")) == 6
    assert traced.span("tts.utterance").attributes["tts.segments"] == 10


def test_log_lines_of_the_exporter_are_rate_limited(traced, caplog):
    logger = logging.getLogger(otel.OTLPSpanExporter.__module__)
    for _ in range(10):
        logger.error("can't deliver")
    assert len(caplog.records) == 1


def test_an_utterance_costs_a_fraction_of_a_millisecond(traced):
    def utterance():
        trace = traced.tracer.utterance("piper-joe", "s-1", {})
        speak(trace, segments=2)
        trace.end(report())

    assert min(timeit.repeat(utterance, number=50, repeat=5)) / 50 < 0.005  # usually 0.2 ms
