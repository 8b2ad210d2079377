"""The mock family: a 440 Hz sine, by default 50 ms per character, without weights. For tests and load tests.

Session options make it short, slow, chunky or failing, which affects only that session. Only its voice pack can make it
take memory or time that others need.
"""

import math
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, ClassVar, Self

import numpy as np
import trio

from ttsw.adapters.base import EngineSettings, TTSAdapter
from ttsw.errors import InternalError, InvalidArgumentError, UnavailableError
from ttsw.options import Option, OptionValue, parse_options
from ttsw.types import Samples, VoicePack

PITCH_HZ = 440
LEVEL = 0.25


class MockAdapter(TTSAdapter):
    """Speaks any text as a sine whose duration follows its length, in chunks of `chunk_ms`."""

    options: ClassVar[Mapping[str, Option]] = {
        "speed": Option("float", "tempo, 1 is the voice's own", 1.0, 0.25, 4),
        "seed": Option("int", "accepted and without effect: the mock has no chance in it", None, 0, 2**63 - 1),
        "ms_per_char": Option("float", "audio for each character, ms", 50.0, 0, 10_000),
        "duration_ms": Option("float", "audio of a segment whatever its text, ms", None, 0, 3_600_000),
        "chunk_ms": Option("float", "audio in one engine chunk, ms", 1_000.0, 1, 5_000),
        "delay_ms": Option("float", "wait before each chunk, ms", 0.0, 0, 600_000),
        "fail_after_ms": Option("float", "audio after which the engine fails, ms", None, 0, 3_600_000),
        "work_mb": Option("float", "memory that each step takes for its work, MB", 0.0, 0, 1_000_000, pack=True),
        "load_ms": Option("float", "how long the model loads, ms", 0.0, 0, 600_000, pack=True),
        "size_mb": Option("float", "memory that the model takes, MB", 0.0, 0, 1_000_000, pack=True),
    }
    concurrency = 16

    def __init__(self, pack: VoicePack) -> None:
        super().__init__(pack)
        self._weights = np.empty(0, np.float32)

    @property
    def model_info(self) -> dict[str, Any]:
        """Return the description of the model; a tone reads any script."""
        return super().model_info | {"scripts": "any"}

    @classmethod
    def load(cls, pack: VoicePack, settings: EngineSettings) -> Self:
        """Make a mock voice. Its pack may make the load take time and memory."""
        given = {name: text for name, text in pack.options.items() if name in cls.options}
        try:
            options = parse_options(given, cls.options)
        except InvalidArgumentError as error:
            raise UnavailableError(f"voice pack {pack.root}: {error}") from error
        if options["load_ms"]:
            trio.from_thread.run(trio.sleep, float(options["load_ms"]) / 1000)
        adapter = cls(pack)
        adapter._weights = _memory(float(options["size_mb"]))
        adapter.concurrency = settings.concurrency or cls.concurrency
        return adapter

    def close(self) -> None:
        """Free the memory."""
        self._weights = np.empty(0, np.float32)

    def speak(self, text: str, options: Mapping[str, OptionValue]) -> Iterator[Samples]:
        """Yield the sine in chunks; see `TTSAdapter.speak`."""
        ms = float(options.get("duration_ms", len(text) * float(options["ms_per_char"]))) / float(options["speed"])
        fail_after_ms = options.get("fail_after_ms")
        total = self._samples(ms)
        fails_at = None if fail_after_ms is None else self._samples(float(fail_after_ms))
        chunk = max(1, self._samples(float(options["chunk_ms"])))
        for start in range(0, total, chunk):
            if fails_at is not None and start + chunk > fails_at:
                yield self._sine(start, fails_at)
                raise InternalError(f"the mock voice failed after {fail_after_ms} ms, as option fail_after_ms says")
            _memory(float(options["work_mb"]))
            if options["delay_ms"]:
                trio.from_thread.run(trio.sleep, float(options["delay_ms"]) / 1000)
            yield self._sine(start, min(start + chunk, total))

    def _samples(self, ms: float) -> int:
        return round(ms * self.sample_rate / 1000)

    def _sine(self, start: int, stop: int) -> Samples:
        periods = _periods(self.sample_rate)
        return np.resize(np.roll(periods, -(start % len(periods))), stop - start)


def _memory(size_mb: float) -> Samples:
    return np.ones(round(size_mb * 250_000), np.float32)


@cache
def _periods(sample_rate: int) -> Samples:
    """Return the shortest run of samples that holds whole periods of the sine, at most a second."""
    length = sample_rate // math.gcd(sample_rate, PITCH_HZ)
    return np.asarray(LEVEL * np.sin(np.arange(length) * (2 * np.pi * PITCH_HZ / sample_rate)), np.float32)
