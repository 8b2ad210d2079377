"""A voice: a loaded model, warm, and how loud it speaks. Decides the level at which a model enters the chain."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import trio

from ttsw.adapters.hosts.base import Host
from ttsw.audio import AdaptiveGain, Calibration, Chain, FixedGain, Gain, calibrate, to_mono
from ttsw.concurrency.threads import Lane, run_in
from ttsw.errors import InvalidArgumentError, OutOfMemoryError, TtswError
from ttsw.options import Option, OptionValue, parse_options
from ttsw.sessions.options import SessionOptions
from ttsw.text import scripts_of
from ttsw.types import Samples

T = TypeVar("T")

CALIBRATION_TEXTS = (
    "The birch canoe slid on the smooth planks.",
    "Glue the sheet to the dark blue background.",
    "It's easy to tell the depth of a well.",
    "Four hours of steady work faced us.",
)
"""Harvard sentences (IEEE Recommended Practice for Speech Quality Measurements, 1969): balanced in their sounds."""


@dataclass(frozen=True)
class LoudnessTarget:
    """How loud a worker speaks.

    Args:
        target_lufs: Where voices are brought to, LUFS; None leaves each as its model made it.
    """

    target_lufs: float | None = -16.0

    def gain(self, calibration: Calibration | None, sample_rate: int, wanted_lufs: float | None) -> Gain:
        """Build the gain of one utterance; a session's wish wins."""
        target = self.target_lufs if wanted_lufs is None else wanted_lufs
        if target is None:
            return FixedGain()
        return AdaptiveGain(sample_rate, target) if calibration is None else calibration.gain(target)


async def no_relief(*_: object) -> bool:
    """Find nothing that could go."""
    await trio.lowlevel.checkpoint()
    return False


@dataclass(frozen=True)
class Voice:
    """A loaded model that sessions speak with.

    Args:
        host: Runs the engine.
        level: How loud the worker speaks.
        calibration: What the voice's own speech measures; None starts from a prior and adapts.
        defaults: Options that hold where a session gives none.
        relieve: Makes room on the model's device when it has no memory left; says whether there was something to go.
    """

    host: Host
    level: LoudnessTarget = LoudnessTarget()
    calibration: Calibration | None = None
    defaults: Mapping[str, str] = field(default_factory=dict)
    relieve: Callable[[], Awaitable[bool]] = no_relief

    @property
    def options(self) -> Mapping[str, Option]:
        """The options that the engine understands."""
        return self.host.model.options

    def parse_options(self, given: Mapping[str, str], *, lead_ms: float, session: str = "") -> SessionOptions:
        """Parse a session's options against this model's; see `SessionOptions.parse`.

        Raises:
            InvalidArgumentError: An option is unknown or its value isn't valid.
        """
        languages = self.host.model.pack.languages
        return SessionOptions.parse(
            given, self.options, defaults=self.defaults, languages=languages, lead_ms=lead_ms, session=session
        )

    async def prepare(self, options: SessionOptions) -> None:
        """Get the engine ready for a session's options.

        Raises:
            TtswError: Nothing can be spoken with them.
        """
        if self.host.model.prepares:
            await self.host.prepare(options.engine)

    def scripts(self, options: SessionOptions) -> frozenset[str] | None:
        """Name the scripts that are read in a session; None for any.

        They are those of the session's language or, for a model that tells languages apart by itself, of all that the
        model speaks.
        """
        model = self.host.model
        how, languages = model.info.get("scripts"), model.pack.languages
        if options.language and how != "languages":
            languages = (options.language,)
        return None if how == "any" or not languages else scripts_of(languages)

    def unread(self, scripts: Mapping[str, int], options: SessionOptions) -> InvalidArgumentError:
        """The error of a text of which nothing can be read."""
        pack = self.host.model.pack
        written, languages = " and ".join(sorted(scripts)), options.language or ", ".join(pack.languages)
        return InvalidArgumentError(
            f"none of the text can be read: it is in {written} script, and {pack.model_id} reads {languages}; choose a "
            "voice for the text's language"
        )

    def open_chain(self, options: SessionOptions) -> Chain:
        """Make the way from the engine's chunks to frames, for one utterance."""
        rate = self.host.model.sample_rate
        calibration = None if self._is_other(options) else self.calibration
        return Chain(rate, self.level.gain(calibration, rate, options.loudness_lufs))

    def _is_other(self, options: SessionOptions) -> bool:
        """Whether a session speaks with another voice of the model than was calibrated."""

        def value(name: str, option: Option) -> OptionValue | None:
            return option.parse(name, self.defaults[name]) if name in self.defaults else option.default

        chosen = {name: value(name, option) for name, option in self.options.items() if option.voice}
        return any(options.engine.get(name) != usual for name, usual in chosen.items())

    async def speak(
        self,
        text: str,
        options: Mapping[str, OptionValue],
        convert: Callable[[Samples], T],
        take: Callable[[T, float], Awaitable[None]],
    ) -> None:
        """Speak one segment, as `Host.speak` does; where memory runs out before its first chunk, once more.

        Raises:
            OutOfMemoryError: The device has no memory left, even without what nobody uses.
            InternalError: The engine failed.
        """
        begun = False

        def convert_first(chunk: Samples) -> T:
            nonlocal begun
            begun = True
            return convert(chunk)

        try:
            await self.host.speak(text, options, convert_first, take)
        except OutOfMemoryError as error:
            failure = error
        else:
            return
        if begun or not await self.relieve():
            raise failure
        await self.host.speak(text, options, convert, take)

    async def lost(self) -> TtswError:
        """Wait until the model is gone though nobody has closed it; says why."""
        return await self.host.lost()

    async def close(self) -> None:
        """Unload the model."""
        await self.host.close()


async def warm_up(host: Host, texts: tuple[str, ...], defaults: Mapping[str, str]) -> Samples:
    """Speak texts to nobody, so that the first listener finds the model warm.

    Returns:
        What was spoken, at the engine's rate.

    Raises:
        InternalError: The engine failed: a model that can't say this can't speak.
    """
    spoken: list[Samples] = []

    async def keep(chunk: Samples, _seconds: float) -> None:
        spoken.append(chunk)

    known = host.model.options
    values = parse_options({name: text for name, text in defaults.items() if name in known}, known)
    for text in texts:
        await host.speak(text, values, to_mono, keep)
    return np.concatenate(spoken) if spoken else np.empty(0, np.float32)


async def calibrate_voice(host: Host, texts: tuple[str, ...], defaults: Mapping[str, str]) -> Calibration | None:
    """Warm a voice up, and measure how loud it speaks; None where the texts were too short for that.

    Raises:
        InternalError: As from `warm_up`.
    """
    spoken = await warm_up(host, texts, defaults)
    rate = host.model.sample_rate
    return await run_in(Lane.MEASURING, calibrate, spoken, rate)
