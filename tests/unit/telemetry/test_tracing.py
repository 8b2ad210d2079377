import sys
import timeit

import pytest
import trio

from tests.unit.telemetry.support import report
from ttsw.config.schema import TracingConfig
from ttsw.errors import ConfigError
from ttsw.telemetry.open_tracer import open_tracer
from ttsw.telemetry.tracing import NO_TRACE, NO_TRACER


async def test_off_it_traces_nothing_and_imports_nothing(monkeypatch):
    monkeypatch.delitem(sys.modules, "ttsw.telemetry.otel", raising=False)
    async with open_tracer(TracingConfig(), "w") as tracer:
        assert tracer is NO_TRACER
        assert tracer.utterance("m", "s", {}) is NO_TRACE
    assert "ttsw.telemetry.otel" not in sys.modules


def test_off_a_call_costs_next_to_nothing():
    def speak_a_segment():
        with NO_TRACE.segment(0, 40):
            NO_TRACE.step(0.1)

    NO_TRACE.first_frame(0.1)
    NO_TRACE.end(report())
    assert min(timeit.repeat(speak_a_segment, number=1000, repeat=5)) / 1000 < 50e-6  # usually 0.2 µs


async def test_without_opentelemetry_the_error_has_an_install_hint(monkeypatch):
    monkeypatch.delitem(sys.modules, "ttsw.telemetry.otel", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigError, match=r"opentelemetry.sdk.trace isn't installed: .*-m pip install .*\[otel\]'"):
        async with open_tracer(TracingConfig(enabled=True), "w"):
            pass


async def test_a_collector_that_is_away_costs_a_bounded_time_at_the_end(monkeypatch, caplog):
    monkeypatch.setattr("ttsw.telemetry.open_tracer.FLUSH_S", 0.5)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    started = trio.current_time()
    async with open_tracer(TracingConfig(enabled=True), "w") as tracer:
        tracer.utterance("m", "s", {}).end(report())
        assert trio.current_time() - started < 5  # speech doesn't wait for a collector
        leaving = trio.current_time()
    assert trio.current_time() - leaving < 2
