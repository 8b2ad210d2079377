"""Which metrics there are, under which names, and what changes them.

What happens is told by a call of a method here, in the event loop, and costs microseconds. What merely stands
(sessions, models, memory) isn't followed but copied when somebody looks; see
`ttsw.telemetry.snapshot_collector`. A registry of our own: nothing is shared with what else uses prometheus-client in
the process.
"""

import platform

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

from ttsw.errors import ErrorCode
from ttsw.telemetry.snapshot import CAUSES, UNLOAD_CAUSES, FrameCounter, UtteranceSummary, WorkerSnapshot
from ttsw.telemetry.snapshot_collector import SnapshotCollector
from ttsw.version import __version__

MOST_MODELS = 100
"""Models told apart; what is one too many, or was never in memory, is counted under `OTHER`."""

OTHER = "other"

TTFA_S = (0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
DURATION_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
RTF = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 5.0)
BARGE_IN_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 5.0)
LOAD_S = (0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0)
LAG_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


class Metrics:
    """A worker's metrics.

    Args:
        worker_name: The worker's name.
    """

    def __init__(self, worker_name: str = "") -> None:
        self.tally = FrameCounter()
        """To be added to per frame."""
        self.registry = registry = CollectorRegistry()
        self._models: set[str] = set()
        self._first_audio = Histogram(
            "tts_time_to_first_audio_seconds",
            "From an utterance's beginning to its first frame, handed to the connection.",
            ["model"],
            buckets=TTFA_S,
            registry=registry,
        )
        self._duration = Histogram(
            "tts_request_duration_seconds",
            "From an utterance's beginning to its end.",
            ["model", "cause"],
            buckets=DURATION_S,
            registry=registry,
        )
        self._rtf = Histogram(
            "tts_realtime_factor",
            "Compute seconds over seconds of the audio that they made, by utterance.",
            ["model"],
            buckets=RTF,
            registry=registry,
        )
        self._utterances = Counter(
            "tts_utterances", "Utterances that have ended.", ["model", "cause"], registry=registry
        )
        self._underruns = Counter(
            "tts_underruns", "Times that a listener who plays along ran dry.", ["model"], registry=registry
        )
        self._unread = Counter(
            "tts_unread_characters", "Letters left out because the voice can't read them.", ["model"], registry=registry
        )
        self._refused = Counter("tts_refused", "Requests that were refused.", ["code"], registry=registry)
        self._barge_in = Histogram(
            "tts_barge_in_seconds",
            "From a Control STOP or PAUSE to the last frame handed to the connection.",
            ["command"],
            buckets=BARGE_IN_S,
            registry=registry,
        )
        self._loads = Counter("tts_model_loads", "Models loaded.", ["model"], registry=registry)
        self._load_failures = Counter(
            "tts_model_load_failures", "Models that could not be loaded.", ["model"], registry=registry
        )
        self._unloads = Counter("tts_model_unloads", "Models unloaded.", ["cause"], registry=registry)
        self._load_time = Histogram(
            "tts_model_load_seconds",
            "How long models took to load and to warm up.",
            ["model"],
            buckets=LOAD_S,
            registry=registry,
        )
        self._lag = Histogram(
            "tts_event_loop_lag_seconds",
            "How late the event loop wakes who sleeps.",
            buckets=LAG_S,
            registry=registry,
        )
        self._mirror = SnapshotCollector(
            self.tally, {"version": __version__, "python": platform.python_version(), "worker": worker_name}
        )
        registry.register(self._mirror)
        ProcessCollector(registry=registry)
        for command in ("stop", "pause"):
            self._barge_in.labels(command)
        for cause in UNLOAD_CAUSES:
            self._unloads.labels(cause)
        for code in ErrorCode:
            if code is not ErrorCode.OK:
                self._refused.labels(code.name.lower())

    # What is told. All of these are cheap, and to be called in the event loop.

    def utterance_ended(self, model_id: str, ended: UtteranceSummary, duration_s: float) -> None:
        """An utterance has ended, `duration_s` after its beginning."""
        model = self._name(model_id)
        self._utterances.labels(model, ended.cause).inc()
        self._duration.labels(model, ended.cause).observe(duration_s)
        if ended.first_s is not None:
            self._first_audio.labels(model).observe(ended.first_s)
        if (rtf := ended.rtf) is not None:
            self._rtf.labels(model).observe(rtf)
        if unread := sum(ended.unread.values()):
            self._unread.labels(model).inc(unread)
        if ended.underruns:
            self._underruns.labels(model).inc(ended.underruns)

    def barged_in(self, command: str, seconds: float) -> None:
        """A listener was silenced by `stop` or `pause`, `seconds` after that came."""
        self._barge_in.labels(command).observe(seconds)

    def refused(self, code: ErrorCode) -> None:
        """A request was refused."""
        self._refused.labels(code.name.lower()).inc()

    def model_loaded(self, model_id: str, load_s: float) -> None:
        """A model is in memory, and warm. From now on it has a name here."""
        model = self._admit(model_id)
        self._loads.labels(model).inc()
        self._load_time.labels(model).observe(load_s)

    def model_load_failed(self, model_id: str) -> None:
        """A model that exists could not be loaded."""
        self._load_failures.labels(self._admit(model_id)).inc()

    def model_unloaded(self, cause: str) -> None:
        """A model has been unloaded, for one of `UNLOAD_CAUSES`."""
        self._unloads.labels(cause).inc()

    def loop_lagged(self, seconds: float) -> None:
        """The event loop woke somebody this late."""
        self._lag.observe(seconds)

    def show(self, snapshot: WorkerSnapshot) -> None:
        """Show this, until the next, as how the worker stands."""
        self._mirror.snapshot = snapshot

    def _name(self, model_id: str) -> str:
        return model_id if model_id in self._models else OTHER

    def _admit(self, model_id: str) -> str:
        """Give a model its label; its counters begin at 0, so that a rate sees the first event, too."""
        if model_id in self._models or len(self._models) >= MOST_MODELS:
            return self._name(model_id)
        self._models.add(model_id)
        for cause in CAUSES:
            self._utterances.labels(model_id, cause)
        for counter in (self._underruns, self._loads, self._load_failures):
            counter.labels(model_id)
        return model_id
