"""The tracing interface that utterances call, and its no-op implementation, which costs 0.1 µs a call.

`ttsw.telemetry.otel` implements it on OpenTelemetry; `ttsw.telemetry.open_tracer` chooses.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from ttsw.telemetry.snapshot import UtteranceSummary


class UtteranceTrace(Protocol):
    """Trace of one utterance."""

    def segment(self, index: int, characters: int) -> AbstractContextManager[object]:
        """Return a context manager that traces a segment."""
        ...

    def step(self, compute_s: float) -> None:
        """Record a completed engine step of the current segment, with its compute time."""
        ...

    def first_frame(self, first_s: float) -> None:
        """Record the first sent frame, with the time since the start of the utterance."""
        ...

    def end(self, summary: UtteranceSummary) -> None:
        """End the trace of a finished utterance."""
        ...


class Tracer(Protocol):
    """Creates the traces of utterances."""

    def utterance(self, model_id: str, session_id: str, metadata: Mapping[str, object]) -> UtteranceTrace:
        """Start the trace of an utterance, as a child of the client's trace if the call's metadata contains one."""
        ...


class NoTrace:
    """No-op `UtteranceTrace`."""

    _no_op = nullcontext()

    def segment(self, index: int, characters: int) -> AbstractContextManager[object]:
        """See `UtteranceTrace.segment`."""
        return self._no_op

    def step(self, compute_s: float) -> None:
        """See `UtteranceTrace.step`."""

    def first_frame(self, first_s: float) -> None:
        """See `UtteranceTrace.first_frame`."""

    def end(self, summary: UtteranceSummary) -> None:
        """See `UtteranceTrace.end`."""


NO_TRACE = NoTrace()


class NoTracer:
    """No-op `Tracer`."""

    def utterance(self, model_id: str, session_id: str, metadata: Mapping[str, object]) -> UtteranceTrace:
        """See `Tracer.utterance`."""
        return NO_TRACE


NO_TRACER = NoTracer()
