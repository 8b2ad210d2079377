"""The tracing interface that utterances call, and its no-op implementation, which costs 0.1 µs a call.

`ttsw.telemetry.otel` implements it on OpenTelemetry; `ttsw.telemetry.open_tracer` chooses.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from ttsw.telemetry.snapshot import UtteranceSummary


class UtteranceTrace(Protocol):
    """The trace of one utterance."""

    def segment(self, index: int, characters: int) -> AbstractContextManager[object]:
        """Trace the speaking of a segment, for a block."""
        ...

    def step(self, compute_s: float) -> None:
        """The engine has just done a step for the present segment, which took this long."""
        ...

    def first_frame(self, first_s: float) -> None:
        """The first frame was sent, this long after the utterance's beginning."""
        ...

    def end(self, ended: UtteranceSummary) -> None:
        """The utterance has ended."""
        ...


class Tracer(Protocol):
    """Traces utterances."""

    def utterance(self, model_id: str, session_id: str, metadata: Mapping[str, object]) -> UtteranceTrace:
        """Begin the trace of an utterance, as part of the client's where the call's metadata names one."""
        ...


class NoTrace:
    """The trace that isn't kept."""

    _nothing = nullcontext()

    def segment(self, index: int, characters: int) -> AbstractContextManager[object]:
        """See `UtteranceTrace.segment`."""
        return self._nothing

    def step(self, compute_s: float) -> None:
        """See `UtteranceTrace.step`."""

    def first_frame(self, first_s: float) -> None:
        """See `UtteranceTrace.first_frame`."""

    def end(self, ended: UtteranceSummary) -> None:
        """See `UtteranceTrace.end`."""


NO_TRACE = NoTrace()


class NoTracer:
    """Keeps no traces."""

    def utterance(self, model_id: str, session_id: str, metadata: Mapping[str, object]) -> UtteranceTrace:
        """See `Tracer.utterance`."""
        return NO_TRACE


NO_TRACER = NoTracer()
