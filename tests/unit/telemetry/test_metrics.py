import timeit

import pytest
from prometheus_client import REGISTRY

from tests.unit.telemetry.support import OPENMETRICS, busy_metrics, report, scrape
from ttsw.errors import ErrorCode
from ttsw.sessions.utterance import EndCause
from ttsw.telemetry import metrics as module
from ttsw.telemetry.metrics import Metrics
from ttsw.telemetry.snapshot import CAUSES

JOE = ("model", "piper-joe")


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
async def test_recorded_events_are_exported(accept):
    seen = await scrape(busy_metrics(), accept=accept)
    assert seen["tts_utterances_total", ("cause", "finished"), JOE] == 1
    assert seen["tts_utterances_total", ("cause", "failed"), JOE] == 1
    assert seen["tts_request_duration_seconds_sum", ("cause", "finished"), JOE] == 3.2
    assert seen["tts_time_to_first_audio_seconds_count", JOE] == 1
    assert seen["tts_time_to_first_audio_seconds_sum", JOE] == 0.08
    assert seen["tts_realtime_factor_sum", JOE] == pytest.approx(0.1)
    assert seen["tts_underruns_total", JOE] == 2
    assert seen["tts_barge_in_seconds_sum", ("command", "stop")] == 0.004
    assert seen["tts_barge_in_seconds_count", ("command", "pause")] == 0
    assert seen["tts_model_loads_total", JOE] == 1
    assert seen["tts_model_load_seconds_sum", JOE] == 1.1
    assert seen["tts_model_load_failures_total", ("model", "hibari-heart")] == 1
    assert seen["tts_model_unloads_total", ("cause", "ttl")] == 1
    assert seen["tts_event_loop_lag_seconds_count",] == 1
    assert seen["tts_frames_total",] == 150
    assert seen["tts_frames_late_total",] == 1
    assert seen["process_resident_memory_bytes",] > 1e6


async def test_counters_start_at_0_for_rate():
    metrics = Metrics()
    metrics.model_loaded("piper-joe", 1.0)
    seen = await scrape(metrics)
    assert [seen["tts_utterances_total", ("cause", cause), JOE] for cause in CAUSES] == [0] * len(CAUSES)
    assert seen["tts_underruns_total", JOE] == 0
    assert seen["tts_model_load_failures_total", JOE] == 0
    assert seen["tts_model_unloads_total", ("cause", "out of memory")] == 0


async def test_a_model_that_was_never_in_memory_gets_no_series():
    metrics = Metrics()
    for number in range(1000):
        metrics.utterance_ended(f"invented-{number}", report(), 1.0)
    seen = await scrape(metrics)
    assert seen["tts_utterances_total", ("cause", "finished"), ("model", "other")] == 1000
    assert not [key for key in seen if "invented" in str(key)]


async def test_series_are_bounded_however_many_models_there_were(monkeypatch):
    monkeypatch.setattr(module, "MAX_MODELS", 3)
    metrics = Metrics()
    for number in range(100):
        metrics.model_loaded(f"m-{number}", 1.0)
        metrics.model_load_failed(f"m-{number}")
        for cause in EndCause:
            metrics.utterance_ended(f"m-{number}", report(cause), 1.0)
    models = {value for _, *labels in await scrape(metrics) for name, value in labels if name == "model"}
    assert models == {"m-0", "m-1", "m-2", "other", "piper-joe", "hibari-heart"}  # the last two are in the snapshot


async def test_refusals_are_counted_by_code():
    metrics = Metrics()
    metrics.refused(ErrorCode.RESOURCE_EXHAUSTED)
    assert (await scrape(metrics))["tts_refused_total", ("code", "resource_exhausted")] == 1


@pytest.mark.parametrize(
    ("buckets", "usual"),
    [
        (module.TTFA_S, (0.02, 0.25)),
        (module.RTF, (0.006, 0.11, 0.75)),
        (module.BARGE_IN_S, (0.003, 0.02)),
        (module.LOAD_S, (0.3, 1.1, 20)),
        (module.LAG_S, (0.001, 0.004)),
        (module.DURATION_S, (0.5, 3, 30)),
    ],
)
def test_buckets_rise_and_tell_usual_values_apart(buckets, usual):
    assert list(buckets) == sorted(set(buckets))
    places = [sum(value > bound for bound in buckets) for value in usual]
    assert len(set(places)) == len(places)
    assert places[0] > 0
    assert places[-1] < len(buckets)


async def test_two_workers_in_a_process_share_nothing():
    one, other = busy_metrics(), Metrics()
    assert (await scrape(one))["tts_frames_total",] == 150
    assert (await scrape(other))["tts_frames_total",] == 0
    assert not any(family.name.startswith("tts_") for family in REGISTRY.collect())


def test_an_utterance_costs_microseconds():
    metrics, ended = busy_metrics(), report()
    per_call_s = (
        min(timeit.repeat(lambda: metrics.utterance_ended("piper-joe", ended, 1.0), number=200, repeat=5)) / 200
    )
    assert per_call_s < 0.001  # usually 9 µs; the bound allows for a busy machine
