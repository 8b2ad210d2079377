"""How a device's memory stands at a moment, and what can be asked for that."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class MemorySnapshot:
    """A device's memory at a moment, bytes.

    Args:
        device: The device: `cpu`, `cuda:0`.
        total: What there is (for this process: a container's limit counts).
        used: What is taken, by whomever; memory that the system gives back on demand (caches) isn't.
        ours: What this process and its children have of it.
    """

    device: str
    total: int
    used: int
    ours: int

    @property
    def free(self) -> int:
        """What is left, bytes."""
        return max(0, self.total - self.used)


class Device(Protocol):
    """Something that models are loaded on."""

    @property
    def id(self) -> str:
        """Its short name: `cpu`, `cuda:0`."""
        ...

    @property
    def name(self) -> str:
        """What it is, for a person: a processor's or a GPU's product name."""
        ...

    def snapshot(self) -> MemorySnapshot:
        """Look at its memory; may block for some milliseconds, so call it in a thread.

        Raises:
            UnavailableError: The device no longer answers.
        """
        ...
