"""A voice: a loaded, warm model with its loudness. Decides the gain with which a model enters the audio chain."""

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
"""Harvard sentences (IEEE Recommended Practice for Speech Quality Measurements, 1969), phonetically balanced."""


@dataclass(frozen=True)
class LoudnessTarget:
    """Target loudness of the worker.

    Args:
        target_lufs: Target, LUFS; None keeps each model's own level.
    """

    target_lufs: float | None = -16.0

    def gain(self, calibration: Calibration | None, sample_rate: int, wanted_lufs: float | None) -> Gain:
        """Return the gain for one utterance; a session's own target takes precedence."""
        target = self.target_lufs if wanted_lufs is None else wanted_lufs
        if target is None:
            return FixedGain()
        return AdaptiveGain(sample_rate, target) if calibration is None else calibration.gain(target)


async def no_relief(*_: object) -> bool:
    """Free no memory."""
    await trio.lowlevel.checkpoint()
    return False


@dataclass(frozen=True)
class Voice:
    """A loaded model that sessions speak with.

    Args:
        host: Runs the engine.
        level: Target loudness.
        calibration: Measured loudness of the voice; None starts from a prior and adapts.
        defaults: Options used unless the session sets them.
        relieve: Frees memory on the model's device; returns whether it could.
    """

    host: Host
    level: LoudnessTarget = LoudnessTarget()
    calibration: Calibration | None = None
    defaults: Mapping[str, str] = field(default_factory=dict)
    relieve: Callable[[], Awaitable[bool]] = no_relief

    @property
    def options(self) -> Mapping[str, Option]:
        """The engine's options."""
        return self.host.model.options

    def parse_options(self, given: Mapping[str, str], *, lead_ms: float, session: str = "") -> SessionOptions:
        """Parse a session's options against this model's; see `SessionOptions.parse`.

        Raises:
            InvalidArgumentError: An option is unknown, or its value isn't valid.
        """
        languages = self.host.model.pack.languages
        return SessionOptions.parse(
            given, self.options, defaults=self.defaults, languages=languages, lead_ms=lead_ms, session=session
        )

    async def prepare(self, options: SessionOptions) -> None:
        """Prepare the engine for a session's options.

        Raises:
            TtswError: Nothing can be spoken with them.
        """
        if self.host.model.prepares:
            await self.host.prepare(options.engine)

    def scripts(self, options: SessionOptions) -> frozenset[str] | None:
        """Return the scripts that a session's text may use; None for any.

        They are those of the session's language or, for a model that detects languages itself, of all its languages.
        """
        model = self.host.model
        how, languages = model.info.get("scripts"), model.pack.languages
        if options.language and how != "languages":
            languages = (options.language,)
        return None if how == "any" or not languages else scripts_of(languages)

    def unread(self, scripts: Mapping[str, int], options: SessionOptions) -> InvalidArgumentError:
        """Return the error for a text without any readable part."""
        pack = self.host.model.pack
        written, languages = " and ".join(sorted(scripts)), options.language or ", ".join(pack.languages)
        return InvalidArgumentError(
            f"none of the text can be read: it is in {written} script, and {pack.model_id} reads {languages}; choose a "
            "voice for the text's language"
        )

    def open_chain(self, options: SessionOptions) -> Chain:
        """Return the audio chain for one utterance."""
        rate = self.host.model.sample_rate
        calibration = None if self._is_other(options) else self.calibration
        return Chain(rate, self.level.gain(calibration, rate, options.loudness_lufs))

    def _is_other(self, options: SessionOptions) -> bool:
        """Return whether a session uses a different voice of the model than the calibrated one."""

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
        """Speak one segment, as `Host.speak` does; if memory runs out before its first chunk, free some and retry.

        Raises:
            OutOfMemoryError: The device is out of memory, even without idle models.
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
        """Wait until the model is lost without having been closed; return the reason."""
        return await self.host.lost()

    async def close(self) -> None:
        """Unload the model."""
        await self.host.close()


async def warm_up(host: Host, texts: tuple[str, ...], defaults: Mapping[str, str]) -> Samples:
    """Speak texts without a listener, so that the first listener finds the model warm.

    Returns:
        The audio, at the engine's rate.

    Raises:
        InternalError: The engine failed, so that the model can't be used.
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
    """Warm a voice up and measure its loudness; None if the texts yield too little speech.

    Raises:
        InternalError: See `warm_up`.
    """
    spoken = await warm_up(host, texts, defaults)
    rate = host.model.sample_rate
    return await run_in(Lane.MEASURING, calibrate, spoken, rate)
