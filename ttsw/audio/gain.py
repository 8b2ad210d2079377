"""Gain: what a stage that sets the level looks like, and the simplest one.

How large a gain should be, `ttsw.audio.loudness` and `ttsw.audio.adaptive` say.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ttsw.types import Samples
from ttsw.units import db_to_gain


class Gain(Protocol):
    """A stage that sets the level of a stream; it may look at what it is given, and keeps its state between chunks."""

    def apply(self, chunk: Samples) -> Samples:
        """Return the chunk, shape (n,), float32, at its new level; the argument stays as it was."""


@dataclass(frozen=True, slots=True)
class FixedGain:
    """The same gain for every sample: a calibrated voice's.

    >>> FixedGain.between(-25.0, -16.0)
    FixedGain(gain_db=9.0)

    Args:
        gain_db: The gain, dB.
    """

    gain_db: float = 0.0

    @classmethod
    def between(cls, lufs: float, target_lufs: float) -> "FixedGain":
        """Build the gain that brings speech measured at `lufs` to `target_lufs`."""
        return cls(target_lufs - lufs)

    def apply(self, chunk: Samples) -> Samples:
        """Return the chunk at its new level; the chunk itself at 0 dB."""
        return chunk * np.float32(db_to_gain(self.gain_db)) if self.gain_db else chunk
