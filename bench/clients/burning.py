"""A family for benches: the mock voice from an engine written in Python, which holds its interpreter's lock."""

import time
from collections.abc import Iterator, Mapping
from typing import ClassVar

from ttsw.adapters.mock import MockAdapter
from ttsw.options import Option, OptionValue
from ttsw.types import Samples


class Burning(MockAdapter):
    """Takes `burn` seconds of CPU time for a second of audio, all of it in Python; one step at a time."""

    options: ClassVar[Mapping[str, Option]] = {
        **MockAdapter.options,
        "burn": Option("float", "CPU time for each second of audio, s", 0.035, 0, 10),
    }
    concurrency = 1

    def speak(self, text: str, options: Mapping[str, OptionValue]) -> Iterator[Samples]:
        """Yield what the mock voice says."""
        for chunk in super().speak(text, options):
            burn(float(options["burn"]) * len(chunk) / self.sample_rate)
            yield chunk


def burn(seconds: float) -> None:
    """Run Python for so much CPU time of this thread: on a slower machine it does less, and takes as long."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        sum(number for number in range(1_000))
