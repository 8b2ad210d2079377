"""What the layers above hand over to be told: plain values, so that neither side needs to know the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ttsw.types import MemorySnapshot

WORKER_STATES = ("starting", "ready", "draining")
"""States of a worker."""

MODEL_STATES = ("absent", "loading", "warming", "ready", "draining", "unloading", "failed")
"""States of a model."""

CAUSES = ("finished", "stopped", "client left", "session ended", "failed")
"""Why utterances end."""

UNLOAD_CAUSES = ("ttl", "room", "pressure", "out of memory", "lost", "replaced", "asked", "stopping")
"""Why models are unloaded."""


@dataclass(slots=True)
class FrameCounter:
    """What is counted per frame: plain numbers to add to, published when somebody looks.

    Args:
        frames: Frames sent.
        late: Those of them that were sent later than they were due.
    """

    frames: int = 0
    late: int = 0


class UtteranceSummary(Protocol):
    """An utterance that has ended. Times are seconds; what was not measured is None."""

    @property
    def cause(self) -> str:
        """Why it ended, one of `CAUSES`."""
        ...

    @property
    def characters(self) -> int:
        """Characters of text."""
        ...

    @property
    def segments(self) -> int:
        """Segments spoken, the last perhaps in part."""
        ...

    @property
    def unread(self) -> Mapping[str, int]:
        """Letters left out because the voice can't read them, by script."""
        ...

    @property
    def frames(self) -> int:
        """Frames sent."""
        ...

    @property
    def first_s(self) -> float | None:
        """From its beginning to its first frame."""
        ...

    @property
    def rtf(self) -> float | None:
        """Compute seconds over seconds of audio made."""
        ...

    @property
    def underruns(self) -> int:
        """How often its listener ran dry."""
        ...

    @property
    def error(self) -> str:
        """What went wrong; empty if nothing did."""
        ...


@dataclass(frozen=True, slots=True)
class ModelSnapshot:
    """How a model stands.

    Args:
        model_id: Its full id.
        state: One of `MODEL_STATES`.
        device: Where it is; empty where it isn't in memory.
        size: What it takes there, bytes.
    """

    model_id: str
    state: str
    device: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True)
class WorkerSnapshot:
    """How a worker stands at a moment.

    Args:
        state: One of `WORKER_STATES`.
        sessions: Sessions there are.
        sessions_limit: Sessions there may be.
        speaking: Utterances under way.
        queued: Steps of engines that wait for their turn.
        models: Models in memory, on their way, or failed.
        memory: The devices' memory as last seen.
        silent: The devices that don't answer; their memory is what was seen before.
    """

    state: str
    sessions: int = 0
    sessions_limit: int = 0
    speaking: int = 0
    queued: int = 0
    models: Sequence[ModelSnapshot] = field(default=())
    memory: Sequence[MemorySnapshot] = field(default=())
    silent: Sequence[str] = field(default=())
