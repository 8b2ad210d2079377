"""Plain data types that the upper layers report to telemetry, to keep both independent of each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ttsw.types import MemorySnapshot

WORKER_STATES = ("starting", "ready", "draining")
"""Worker states."""

MODEL_STATES = ("absent", "loading", "warming", "ready", "draining", "unloading", "failed")
"""Model states."""

CAUSES = ("finished", "stopped", "client left", "session ended", "failed")
"""Causes of an utterance's end."""

UNLOAD_CAUSES = ("ttl", "room", "pressure", "out of memory", "lost", "replaced", "asked", "stopping")
"""Causes of a model unload."""


@dataclass(slots=True)
class FrameCounter:
    """Frame counts, incremented per frame and exported at each scrape.

    Args:
        frames: Frames sent.
        late: Frames sent after their due time.
    """

    frames: int = 0
    late: int = 0


class UtteranceSummary(Protocol):
    """Summary of a finished utterance. Times are seconds; a missing measurement is None."""

    @property
    def cause(self) -> str:
        """Cause of its end, one of `CAUSES`."""
        ...

    @property
    def characters(self) -> int:
        """Length of the text, characters."""
        ...

    @property
    def segments(self) -> int:
        """Segments spoken, including a partly spoken last one."""
        ...

    @property
    def unread(self) -> Mapping[str, int]:
        """Number of characters skipped because the voice can't read them, by script."""
        ...

    @property
    def frames(self) -> int:
        """Frames sent."""
        ...

    @property
    def first_s(self) -> float | None:
        """Time from its start to its first frame, seconds."""
        ...

    @property
    def rtf(self) -> float | None:
        """Compute time divided by the duration of the generated audio."""
        ...

    @property
    def underruns(self) -> int:
        """Number of underruns."""
        ...

    @property
    def error(self) -> str:
        """Error message; empty without an error."""
        ...


@dataclass(frozen=True, slots=True)
class ModelSnapshot:
    """State of a model.

    Args:
        model_id: Full id.
        state: One of `MODEL_STATES`.
        device: Device of a model in memory, or else empty.
        size: Memory used on the device, bytes.
    """

    model_id: str
    state: str
    device: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True)
class WorkerSnapshot:
    """State of a worker at one moment.

    Args:
        state: One of `WORKER_STATES`.
        sessions: Open sessions.
        sessions_limit: Maximum number of sessions.
        speaking: Utterances in progress.
        queued: Engine steps waiting to run.
        models: Models in memory, loading, or failed.
        memory: Memory of the devices, as last measured.
        silent: Devices that don't respond, whose memory is the last known value.
    """

    state: str
    sessions: int = 0
    sessions_limit: int = 0
    speaking: int = 0
    queued: int = 0
    models: Sequence[ModelSnapshot] = field(default=())
    memory: Sequence[MemorySnapshot] = field(default=())
    silent: Sequence[str] = field(default=())
