"""Stand-ins that run in virtual time: an engine without threads, whose steps take as long as a test says."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
import trio

from ttsw.adapters.base import EngineSettings, TTSAdapter
from ttsw.adapters.hosts.base import describe
from ttsw.errors import TtswError, UnavailableError
from ttsw.options import Option, OptionValue
from ttsw.types import Samples, VoicePack
from ttsw.units import SAMPLE_RATE

T = TypeVar("T")

_NOWHERE = Path("no-pack")


class FakeAdapter(TTSAdapter):
    """Speaks a ramp that never repeats, so that a lost or repeated sample shows; 10 ms a character."""

    options = {"seed": Option("int", "has no effect", None, 0, 100)}  # noqa: RUF012 - as every adapter declares them

    @classmethod
    def load(cls, pack: VoicePack, settings: EngineSettings) -> Self:
        """Make one; there is nothing to load."""
        return cls(pack)

    def speak(self, text: str, options: Mapping[str, OptionValue]) -> Iterator[Samples]:
        """Yield 10 ms for each character, 100 ms a chunk."""
        spoken = np.arange(len(text) * self.sample_rate // 100, dtype=np.float32) / np.float32(2**24)
        yield from (spoken[at : at + self.sample_rate // 10] for at in range(0, len(spoken), self.sample_rate // 10))


class FakeHost:
    """Runs a `FakeAdapter` in the event loop.

    Args:
        step_s: How long each step takes, on trio's clock.
        fails_at: The step that fails, from 0; None for none.

    Attributes:
        broken: To be set when the engine is to be lost.
        unprepared: What `prepare` raises.
    """

    def __init__(self, step_s: float = 0.0, fails_at: int | None = None, error: Exception | None = None) -> None:
        self.adapter: TTSAdapter = FakeAdapter(VoicePack("fake", "voice", root=_NOWHERE, sample_rate=SAMPLE_RATE))
        self.model = describe(self.adapter)
        self.prepared: list[Mapping[str, OptionValue]] = []
        self.unprepared: TtswError | None = None
        self.broken = trio.Event()
        self.step_s, self.fails_at, self.error = step_s, fails_at, error
        self.steps = 0
        self.texts: list[str] = []
        self.closed = False
        self.waiting = 0
        self.about = {"host": "fake"}

    async def prepare(self, options: Mapping[str, OptionValue]) -> None:
        """Take note of the options; raise `unprepared` where that is set."""
        await trio.lowlevel.checkpoint()
        self.prepared.append(options)
        if self.unprepared is not None:
            raise self.unprepared

    async def attach(self, pack: VoicePack) -> "FakeHost":
        """Give another."""
        await trio.lowlevel.checkpoint()
        attached = FakeHost(self.step_s)
        attached.model = replace(attached.model, pack=pack)
        return attached

    async def lost(self) -> TtswError:
        """Wait until `broken` is set."""
        await self.broken.wait()
        return UnavailableError("the fake engine has broken")

    async def speak(
        self,
        text: str,
        options: Mapping[str, OptionValue],
        convert: Callable[[Samples], T],
        take: Callable[[T, float], Awaitable[None]],
    ) -> None:
        """Speak one segment; see `ttsw.adapters.hosts`."""
        self.texts.append(text)
        for chunk in self.adapter.speak(text, options):
            await trio.sleep(self.step_s)
            if self.steps == self.fails_at:
                raise self.error or RuntimeError("the fake engine was told to fail")
            self.steps += 1
            await take(convert(chunk), self.step_s)

    async def close(self) -> None:
        """Take note of it."""
        await trio.lowlevel.checkpoint()
        self.closed = True
