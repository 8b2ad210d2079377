"""A family for benches: chunks that tell when their engine had them. Nothing is installed; it is loaded by its file."""

import random
import time
from collections.abc import Iterator, Mapping
from typing import Self

import numpy as np

from ttsw.adapters.base import EngineSettings, TTSAdapter
from ttsw.options import OptionValue
from ttsw.types import Samples, VoicePack


class Stamping(TTSAdapter):
    """Each chunk takes `wait_ms` (on average, from half to one and a half of it), and holds the time it was there."""

    concurrency = 16

    @classmethod
    def load(cls, pack: VoicePack, settings: EngineSettings) -> Self:
        """Load nothing."""
        return cls(pack)

    def speak(self, text: str, options: Mapping[str, OptionValue]) -> Iterator[Samples]:
        """Yield `chunks` chunks of `chunk_ms`."""
        dice = random.Random(text)
        for _ in range(int(options["chunks"])):
            # as an engine's step in C: outside of Python, and not to be interrupted
            time.sleep(float(options["wait_ms"]) / 1000 * dice.uniform(0.5, 1.5))  # noqa: TID251
            chunk = np.full(round(float(options["chunk_ms"]) * self.sample_rate / 1000), 0.25, np.float32)
            chunk[:2].view(np.int64)[0] = time.monotonic_ns()
            yield chunk


def age_ms(chunk: Samples, now_ns: int) -> float:
    """How long ago a chunk's engine had it, in whichever process of this machine that was."""
    return (now_ns - int(chunk[:2].view(np.int64)[0])) / 1e6
