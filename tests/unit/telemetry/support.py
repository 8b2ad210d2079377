"""Utterance reports, worker snapshots and parsed samples for the telemetry tests."""

from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from ttsw.sessions.utterance import EndCause, UtteranceReport
from ttsw.telemetry.exposition import Exposition
from ttsw.telemetry.metrics import Metrics
from ttsw.telemetry.snapshot import ModelSnapshot, WorkerSnapshot
from ttsw.types import MemorySnapshot

OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"


def report(cause: EndCause = EndCause.FINISHED, **changes) -> UtteranceReport:
    fields = {"characters": 40, "segments": 2, "frames": 150, "made": 150, "first_s": 0.08, "compute_s": 0.3}
    return UtteranceReport(cause=cause, **fields | changes)


def snapshot(**changes) -> WorkerSnapshot:
    fields = {
        "state": "ready",
        "sessions": 200,
        "sessions_limit": 256,
        "speaking": 180,
        "queued": 4,
        "models": (ModelSnapshot("piper-joe", "ready", "cpu", 90_000_000), ModelSnapshot("hibari-heart", "loading")),
        "memory": (MemorySnapshot("cpu", 16_000, 9_000, 2_000),),
    }
    return WorkerSnapshot(**fields | changes)


def busy_metrics() -> Metrics:
    """Return metrics with at least one sample each."""
    metrics = Metrics("tts-worker-0")
    metrics.model_loaded("piper-joe", 1.1)
    metrics.utterance_ended("piper-joe", report(underruns=2), 3.2)
    metrics.utterance_ended("piper-joe", report(EndCause.FAILED, first_s=None, made=0, error="no"), 0.1)
    metrics.barged_in("stop", 0.004)
    metrics.model_load_failed("hibari-heart")
    metrics.model_unloaded("ttl")
    metrics.loop_lagged(0.0004)
    metrics.tally.frames += 150
    metrics.tally.late += 1
    return metrics


async def scrape(metrics: Metrics, seen: WorkerSnapshot | None = None, accept: str = "") -> dict[tuple, float]:
    """Return samples by name and labels: `["tts_frames_total",]`, `["tts_utterances_total", ("model", "m")]`."""
    text, _ = await Exposition(metrics, lambda: seen or snapshot()).render(accept)
    return samples(text.decode(), openmetrics=bool(accept))


def samples(text: str, *, openmetrics: bool = False) -> dict[tuple, float]:
    parse = openmetrics_parser.text_string_to_metric_families if openmetrics else parser.text_string_to_metric_families
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in parse(text)
        for sample in family.samples
    }
