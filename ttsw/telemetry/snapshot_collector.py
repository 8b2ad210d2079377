"""Collector for the worker's current state: builds metrics from a snapshot at each scrape.

An unloaded model disappears from the metrics. May run in a thread: it reads only the snapshot and the frame counts.
"""

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from ttsw.telemetry.snapshot import MODEL_STATES, WORKER_STATES, FrameCounter, WorkerSnapshot


class SnapshotCollector(Collector):
    """Collects the metrics of `snapshot` and the frame counts.

    Args:
        tally: Frame counts.
        build: Labels of the build information.
    """

    def __init__(self, tally: FrameCounter, build: Mapping[str, str]) -> None:
        self.snapshot = WorkerSnapshot(WORKER_STATES[0])
        self._tally, self._build = tally, build

    def describe(self) -> Iterator[Metric]:
        """Return no metrics: their labels are unknown before a scrape."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        snapshot = self.snapshot
        yield InfoMetricFamily("tts_build", "Version and name of the worker.", value=dict(self._build))
        yield CounterMetricFamily("tts_frames", "Frames sent.", value=self._tally.frames)
        yield CounterMetricFamily(
            "tts_frames_late", "Frames sent more than 5 ms after their due time.", value=self._tally.late
        )
        yield GaugeMetricFamily("tts_sessions", "Open sessions.", value=snapshot.sessions)
        yield GaugeMetricFamily("tts_sessions_limit", "Maximum number of sessions.", value=snapshot.sessions_limit)
        yield GaugeMetricFamily("tts_active_requests", "Utterances in progress.", value=snapshot.speaking)
        yield GaugeMetricFamily("tts_queue_depth", "Engine steps waiting to run.", value=snapshot.queued)
        state = GaugeMetricFamily("tts_worker_state", "1 for the current state of the worker.", labels=["state"])
        for each in WORKER_STATES:
            state.add_metric([each], each == snapshot.state)
        yield state
        yield from _models(snapshot)
        yield _memory(snapshot)
        answers = GaugeMetricFamily("tts_device_answers", "1 for a device that responds, else 0.", labels=["device"])
        for device in dict.fromkeys((*(memory.device for memory in snapshot.memory), *snapshot.silent)):
            answers.add_metric([device], device not in snapshot.silent)
        yield answers


def _models(snapshot: WorkerSnapshot) -> Iterator[Metric]:
    state = GaugeMetricFamily("tts_model_state", "1 for the current state of the model.", labels=["model", "state"])
    size = GaugeMetricFamily("tts_model_memory_bytes", "Memory used by a model, bytes.", labels=["model", "device"])
    for model in snapshot.models:
        for each in MODEL_STATES:
            state.add_metric([model.model_id, each], each == model.state)
        if model.device:
            size.add_metric([model.model_id, model.device], model.size)
    yield state
    yield size


def _memory(snapshot: WorkerSnapshot) -> Metric:
    memory = GaugeMetricFamily(
        "tts_device_memory_bytes",
        "Memory of a device: total, used by all processes, used by this worker, bytes.",
        labels=["device", "kind"],
    )
    for device in snapshot.memory:
        memory.add_metric([device.device, "total"], device.total)
        memory.add_metric([device.device, "used"], device.used)
        memory.add_metric([device.device, "ours"], device.ours)
    return memory
