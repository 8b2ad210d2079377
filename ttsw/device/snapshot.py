"""The interface of a device."""

from collections.abc import Mapping
from typing import Protocol

from ttsw.types import MemorySnapshot


class Device(Protocol):
    """A device that holds models."""

    @property
    def id(self) -> str:
        """Its id: `cpu`, `cuda:0`."""
        ...

    @property
    def name(self) -> str:
        """Its product name."""
        ...

    @property
    def environ(self) -> Mapping[str, str]:
        """Environment variables that restrict a process to this device; a GPU then is its `cuda:0`."""
        ...

    def snapshot(self) -> MemorySnapshot:
        """Return a snapshot of its memory. May block for some milliseconds, so call it in a thread.

        Raises:
            UnavailableError: The device no longer responds.
        """
        ...
