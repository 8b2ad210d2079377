"""What can be asked how its memory stands."""

from collections.abc import Mapping
from typing import Protocol

from ttsw.types import MemorySnapshot


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

    @property
    def environ(self) -> Mapping[str, str]:
        """What a process finds in its environment that is to use this device alone; a GPU is its `cuda:0`."""
        ...

    def snapshot(self) -> MemorySnapshot:
        """Look at its memory; may block for some milliseconds, so call it in a thread.

        Raises:
            UnavailableError: The device no longer answers.
        """
        ...
