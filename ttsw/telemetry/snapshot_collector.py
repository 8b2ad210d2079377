"""Metrics that mirror how a worker stands: made anew from a snapshot each time somebody looks, and never followed.

A model that is gone is gone from here, too. May run in a thread: reads nothing but the snapshot and the tally.
"""

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from ttsw.telemetry.snapshot import MODEL_STATES, WORKER_STATES, FrameCounter, WorkerSnapshot


class SnapshotCollector(Collector):
    """Collects `snapshot` and the tally.

    Args:
        tally: What is counted per frame.
        build: What the worker is, by label.
    """

    def __init__(self, tally: FrameCounter, build: Mapping[str, str]) -> None:
        self.snapshot = WorkerSnapshot(WORKER_STATES[0])
        self._tally, self._build = tally, build

    def describe(self) -> Iterator[Metric]:
        """Name nothing beforehand."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Make the metrics."""
        seen = self.snapshot
        yield InfoMetricFamily("tts_build", "What this worker is.", value=dict(self._build))
        yield CounterMetricFamily("tts_frames", "Frames sent.", value=self._tally.frames)
        yield CounterMetricFamily(
            "tts_frames_late", "Frames sent more than 5 ms later than they were due.", value=self._tally.late
        )
        yield GaugeMetricFamily("tts_sessions", "Sessions there are.", value=seen.sessions)
        yield GaugeMetricFamily("tts_sessions_limit", "Sessions there may be.", value=seen.sessions_limit)
        yield GaugeMetricFamily("tts_active_requests", "Utterances under way.", value=seen.speaking)
        yield GaugeMetricFamily("tts_queue_depth", "Steps of engines that wait for their turn.", value=seen.queued)
        state = GaugeMetricFamily("tts_worker_state", "1 for the state that the worker is in.", labels=["state"])
        for each in WORKER_STATES:
            state.add_metric([each], each == seen.state)
        yield state
        yield from _models(seen)
        yield _memory(seen)
        answers = GaugeMetricFamily("tts_device_answers", "1 for a device that answers, else 0.", labels=["device"])
        for device in dict.fromkeys((*(memory.device for memory in seen.memory), *seen.silent)):
            answers.add_metric([device], device not in seen.silent)
        yield answers


def _models(seen: WorkerSnapshot) -> Iterator[Metric]:
    state = GaugeMetricFamily("tts_model_state", "1 for the state that a model is in.", labels=["model", "state"])
    size = GaugeMetricFamily("tts_model_memory_bytes", "What a model takes in memory.", labels=["model", "device"])
    for model in seen.models:
        for each in MODEL_STATES:
            state.add_metric([model.model_id, each], each == model.state)
        if model.device:
            size.add_metric([model.model_id, model.device], model.size)
    yield state
    yield size


def _memory(seen: WorkerSnapshot) -> Metric:
    memory = GaugeMetricFamily(
        "tts_device_memory_bytes",
        "A device's memory: what there is, what is taken by whomever, what is ours.",
        labels=["device", "kind"],
    )
    for device in seen.memory:
        memory.add_metric([device.device, "total"], device.total)
        memory.add_metric([device.device, "used"], device.used)
        memory.add_metric([device.device, "ours"], device.ours)
    return memory
