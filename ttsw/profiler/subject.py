"""What a measurement needs: a server to measure, a crowd to load it with, and a way to see its memory.

The real ones are in `server`, `listeners` and `memory`; tests have others, which misbehave on purpose.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from ttsw.profiler.load_messages import LoadOrder, LoadResult


@dataclass(frozen=True, slots=True)
class ServerSnapshot:
    """A model as the server tells of it.

    Args:
        family: Its family.
        version: Its pack's version.
        base: The model that it is based on.
        device: Where it is; empty where it isn't loaded.
        size_mb: What it counts for there.
        allocated_mb: What its tensors take.
        error: Why it can't be used.
        digest: Digest of its files.
        lufs: Loudness of its voice, LUFS.
    """

    family: str
    version: str = ""
    base: str = ""
    device: str = ""
    size_mb: float | None = None
    allocated_mb: float | None = None
    error: str = ""
    digest: str | None = None
    lufs: float | None = None


@dataclass(frozen=True, slots=True)
class MemoryReading:
    """A device's memory at a moment.

    Args:
        total_mb: What there is.
        ours_mb: What the server has of it.
        others_mb: What others have of it.
    """

    total_mb: float
    ours_mb: float
    others_mb: float = 0.0


class Subject(Protocol):
    """The server that is measured."""

    async def models(self) -> Mapping[str, ServerSnapshot]:
        """Every model that the server knows."""
        ...

    async def load(self, model_id: str) -> float:
        """Have a model loaded; returns how long that took, s.

        Raises:
            TtswError: It can't be loaded.
        """
        ...

    async def unload(self, model_id: str) -> float:
        """Have a model unloaded; returns how long that took, s.

        Raises:
            TtswError: It can't be.
        """
        ...


class LoadListeners(Protocol):
    """The load generator."""

    async def listen(self, order: LoadOrder) -> LoadResult:
        """Carry out an order.

        Raises:
            TtswError: It can't be.
        """
        ...


class Meter(Protocol):
    """Sees the device's memory."""

    async def look(self) -> MemoryReading:
        """Look at it.

        Raises:
            UnavailableError: The device no longer answers.
        """
        ...
