"""Prometheus metrics of a worker: names, labels and update methods.

Events are recorded by method calls in the event loop, at microseconds each. Current state (sessions, models, memory) is
read from a snapshot at scrape time; see `ttsw.telemetry.snapshot_collector`. The registry is separate from other users
of prometheus-client in the process.
"""

import platform

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

from ttsw.errors import ErrorCode
from ttsw.telemetry.snapshot import CAUSES, UNLOAD_CAUSES, FrameCounter, UtteranceSummary, WorkerSnapshot
from ttsw.telemetry.snapshot_collector import SnapshotCollector
from ttsw.version import __version__

MAX_MODELS = 100
"""Models with their own label; further models, and models never in memory, are counted under `OTHER`."""

OTHER = "other"

TTFA_S = (0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
DURATION_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
RTF = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 5.0)
BARGE_IN_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 5.0)
LOAD_S = (0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0)
LAG_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


class Metrics:
    """Metrics of one worker.

    Args:
        worker_name: Name of the worker.
    """

    def __init__(self, worker_name: str = "") -> None:
        self.tally = FrameCounter()
        """Frame counts, incremented directly per frame."""
        self.registry = registry = CollectorRegistry()
        self._models: set[str] = set()
        self._first_audio = Histogram(
            "tts_time_to_first_audio_seconds",
            "Time from the start of an utterance to its first sent frame, seconds.",
            ["model"],
            buckets=TTFA_S,
            registry=registry,
        )
        self._duration = Histogram(
            "tts_request_duration_seconds",
            "Duration of an utterance, seconds.",
            ["model", "cause"],
            buckets=DURATION_S,
            registry=registry,
        )
        self._rtf = Histogram(
            "tts_realtime_factor",
            "Compute time divided by audio duration, per utterance.",
            ["model"],
            buckets=RTF,
            registry=registry,
        )
        self._utterances = Counter("tts_utterances", "Finished utterances.", ["model", "cause"], registry=registry)
        self._underruns = Counter(
            "tts_underruns", "Underruns of a client that plays in real time.", ["model"], registry=registry
        )
        self._unread = Counter(
            "tts_unread_characters",
            "Characters skipped because the voice can't read them.",
            ["model"],
            registry=registry,
        )
        self._refused = Counter("tts_refused", "Refused requests.", ["code"], registry=registry)
        self._barge_in = Histogram(
            "tts_barge_in_seconds",
            "Time from a Control STOP or PAUSE to the last sent frame, seconds.",
            ["command"],
            buckets=BARGE_IN_S,
            registry=registry,
        )
        self._loads = Counter("tts_model_loads", "Model loads.", ["model"], registry=registry)
        self._load_failures = Counter("tts_model_load_failures", "Failed model loads.", ["model"], registry=registry)
        self._unloads = Counter("tts_model_unloads", "Model unloads.", ["cause"], registry=registry)
        self._load_time = Histogram(
            "tts_model_load_seconds",
            "Time to load and warm up a model, seconds.",
            ["model"],
            buckets=LOAD_S,
            registry=registry,
        )
        self._lag = Histogram(
            "tts_event_loop_lag_seconds",
            "Event-loop scheduling delay, seconds.",
            buckets=LAG_S,
            registry=registry,
        )
        self._collector = SnapshotCollector(
            self.tally, {"version": __version__, "python": platform.python_version(), "worker": worker_name}
        )
        registry.register(self._collector)
        ProcessCollector(registry=registry)
        for command in ("stop", "pause"):
            self._barge_in.labels(command)
        for cause in UNLOAD_CAUSES:
            self._unloads.labels(cause)
        for code in ErrorCode:
            if code is not ErrorCode.OK:
                self._refused.labels(code.name.lower())

    # Events. All methods are cheap and must be called in the event loop.

    def utterance_ended(self, model_id: str, summary: UtteranceSummary, duration_s: float) -> None:
        """Record a finished utterance that lasted `duration_s`."""
        model = self._label(model_id)
        self._utterances.labels(model, summary.cause).inc()
        self._duration.labels(model, summary.cause).observe(duration_s)
        if summary.first_s is not None:
            self._first_audio.labels(model).observe(summary.first_s)
        if (rtf := summary.rtf) is not None:
            self._rtf.labels(model).observe(rtf)
        if unread := sum(summary.unread.values()):
            self._unread.labels(model).inc(unread)
        if summary.underruns:
            self._underruns.labels(model).inc(summary.underruns)

    def barged_in(self, command: str, seconds: float) -> None:
        """Record the barge-in latency of a `stop` or `pause`."""
        self._barge_in.labels(command).observe(seconds)

    def refused(self, code: ErrorCode) -> None:
        """Record a refused request."""
        self._refused.labels(code.name.lower()).inc()

    def model_loaded(self, model_id: str, load_s: float) -> None:
        """Record a completed load including warm-up, and give the model its own label."""
        model = self._add_label(model_id)
        self._loads.labels(model).inc()
        self._load_time.labels(model).observe(load_s)

    def model_load_failed(self, model_id: str) -> None:
        """Record a failed load of an existing model."""
        self._load_failures.labels(self._add_label(model_id)).inc()

    def model_unloaded(self, cause: str) -> None:
        """Record an unload with one of `UNLOAD_CAUSES`."""
        self._unloads.labels(cause).inc()

    def loop_lagged(self, seconds: float) -> None:
        """Record an event-loop scheduling delay."""
        self._lag.observe(seconds)

    def set_snapshot(self, snapshot: WorkerSnapshot) -> None:
        """Set the worker state that the next scrape exports."""
        self._collector.snapshot = snapshot

    def _label(self, model_id: str) -> str:
        return model_id if model_id in self._models else OTHER

    def _add_label(self, model_id: str) -> str:
        """Add a model's label with its counters at 0, so `rate()` includes the first event."""
        if model_id in self._models or len(self._models) >= MAX_MODELS:
            return self._label(model_id)
        self._models.add(model_id)
        for cause in CAUSES:
            self._utterances.labels(model_id, cause)
        for counter in (self._underruns, self._loads, self._load_failures):
            counter.labels(model_id)
        return model_id
