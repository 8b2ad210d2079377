"""A host of a model that isn't there: it waits as long as a profile says, and speaks a tone."""

import random
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import numpy as np
import trio

from ttsw.adapters.hosts.base import ModelDescription
from ttsw.errors import TtswError, UnavailableError
from ttsw.options import Option, OptionValue
from ttsw.profiles.schema import ModelFacts, Profile
from ttsw.simulation.curves import curves_of
from ttsw.simulation.device import SimulatedDevice
from ttsw.types import Samples, VoicePack
from ttsw.units import SAMPLE_RATE

T = TypeVar("T")

CHARACTERS_PER_S = 15.0
CHUNK_S = 0.2
FREQUENCY, LEVEL = 440.0, 0.1

OPTIONS = {
    "seed": Option("int", "has no effect", None, 0, 2**63 - 1),
    "speaker": Option("str", "has no effect"),
    "reference_audio": Option("str", "has no effect"),
}


class SimulatedLoad:
    """Who speaks, on all models of a simulated device: each session is a share of it.

    Args:
        profile: What the device can do.
        noise: How much each wait differs by chance, as a share.
        seed: Decides chance.
    """

    def __init__(self, profile: Profile, noise: float = 0.0, seed: int = 0) -> None:
        self._models = profile.models
        self._speaking: dict[str, int] = dict.fromkeys(profile.models, 0)
        self._noise, self._chance = noise, random.Random(seed)

    def change(self, model_id: str, by: int) -> None:
        """Somebody begins to speak, or ends."""
        self._speaking[model_id] += by

    def on(self, model_id: str) -> float:
        """How many sessions of this model all that speak are worth."""
        own = self._models[model_id].sessions or 1
        return sum(count * own / (self._models[other].sessions or 1) for other, count in self._speaking.items())

    def vary(self, seconds: float) -> float:
        """Let chance have its share of a wait."""
        return seconds * (1 + self._noise * self._chance.uniform(-1, 1))


class SimulatedHost:
    """Speaks for one model, in the event loop; see `ttsw.adapters.hosts.base.Host`.

    Args:
        pack: The model.
        profile: What it takes.
        device: Whose memory it takes.
        load: Who speaks.
    """

    def __init__(self, pack: VoicePack, profile: Profile, device: SimulatedDevice, load: SimulatedLoad) -> None:
        self.facts: ModelFacts = profile.models[pack.model_id]
        self.model = ModelDescription(pack, SAMPLE_RATE, self.facts.sessions or 1, OPTIONS, _info(pack))
        self.waiting = 0
        self.about: Mapping[str, str] = {"host": "simulated", "profile": profile.name}
        self._curves, self._device, self._load = curves_of(self.facts, profile.slo), device, load
        self._closed = False

    def __repr__(self) -> str:
        return f"<SimulatedHost {self.model.pack.model_id}>"

    async def start(self) -> None:
        """Take the time and the memory of a load.

        Raises:
            OutOfMemoryError: The device has no such memory.
        """
        facts = self.facts
        seconds = facts.load.load_s.median if facts.load else facts.size_mb / 1000
        try:
            self._device.hold(self, max(facts.peak_mb, facts.size_mb))
            await trio.sleep(seconds)
            self._device.hold(self, facts.size_mb)
        except BaseException:
            self._device.free(self)
            raise

    async def prepare(self, options: Mapping[str, OptionValue]) -> None:
        """Do nothing: all that is known of voices is the time they take."""
        await trio.lowlevel.checkpoint()

    async def speak(
        self,
        text: str,
        options: Mapping[str, OptionValue],
        convert: Callable[[Samples], T],
        take: Callable[[T, float], Awaitable[None]],
    ) -> None:
        """Speak one segment: the first chunk after the curve's time, all of it in the curve's time by its length."""
        if self._closed:
            raise UnavailableError(f"model {self.model.pack.model_id} was unloaded while it spoke")
        utterance, model_id = object(), self.model.pack.model_id
        self._device.hold(utterance, self.facts.session_mb.median if self.facts.session_mb else 0.0)
        self._load.change(model_id, 1)
        try:
            audio = tone(len(text) / CHARACTERS_PER_S)
            chunks = np.array_split(audio, max(1, round(len(audio) / SAMPLE_RATE / CHUNK_S)))
            first_s, rtf = self._curves.at(self._load.on(model_id))
            step_s = self._load.vary(first_s)
            for chunk in chunks:
                await trio.sleep(step_s)
                await take(convert(chunk), step_s)
                now_s, rtf = self._curves.at(self._load.on(model_id))
                rest_s = max(0.0, len(audio) / SAMPLE_RATE * rtf - now_s)
                step_s = self._load.vary(rest_s / max(1, len(chunks) - 1))
        finally:
            self._load.change(model_id, -1)
            self._device.free(utterance)

    async def attach(self, pack: VoicePack) -> "SimulatedHost":
        """Refuse: a profile says nothing of voices that share a model."""
        raise UnavailableError(f"{pack.model_id} is based on another model, and that isn't simulated")

    async def lost(self) -> TtswError:
        """Wait for ever: nothing is lost that isn't there."""
        await trio.sleep_forever()
        raise AssertionError("for ever has ended")

    async def close(self) -> None:
        """Give the memory back."""
        self._closed = True
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
        self._device.free(self)


def tone(seconds: float) -> Samples:
    """Make a tone of so many seconds, float32."""
    time = np.arange(max(1, round(seconds * SAMPLE_RATE))) / SAMPLE_RATE
    return (LEVEL * np.sin(2 * np.pi * FREQUENCY * time)).astype(np.float32)


def _info(pack: VoicePack) -> dict[str, object]:
    return {"model_id": pack.model_id, "family": pack.family, "sample_rate": SAMPLE_RATE, "languages": ["en"]}
