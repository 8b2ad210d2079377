"""Session options common to all families: text mode, pacing, loudness, language."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from ttsw.errors import InvalidArgumentError
from ttsw.options import Option, OptionValue, check_count, parse_options

COMMON: Mapping[str, Option] = {
    "text_mode": Option(
        "str",
        "chunks: each TextChunk is a text of its own; tokens: chunks are joined to the letter",
        "chunks",
        choices=("chunks", "tokens"),
    ),
    "flush_ms": Option(
        "float", "quiet time after which text_mode=tokens speaks a finished sentence, ms; 0 for never", 250, 0, 60_000
    ),
    "pacing": Option(
        "str",
        "realtime: frames come as they are heard; fast: as fast as they are made and read",
        "realtime",
        choices=("realtime", "fast"),
    ),
    "lead_ms": Option("float", "audio sent ahead of real time, ms", None, 20, 60_000),
    "loudness_lufs": Option("float", "loudness of the voice, LUFS", None, -40, -5),
    "language": Option("language", "language of the text; one of the model's, as en-US is where the model says en"),
}


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """A session's parsed options.

    Args:
        joined: Whether chunks of text are concatenated.
        flush_s: Silence of the client after which a finished sentence is spoken, seconds; `inf` disables it.
        lead_s: Audio sent ahead of real time, seconds; `inf` for `pacing=fast`.
        loudness_lufs: Target loudness, LUFS; None means the worker's.
        language: The model's language for the text; empty if the session doesn't set it.
        engine: The engine's options.
    """

    joined: bool = False
    flush_s: float = 0.25
    lead_s: float = 0.04
    loudness_lufs: float | None = None
    language: str = ""
    engine: Mapping[str, OptionValue] = field(default_factory=dict)

    @classmethod
    def parse(
        cls,
        given: Mapping[str, str],
        family: Mapping[str, Option],
        *,
        defaults: Mapping[str, str] | None = None,
        languages: tuple[str, ...] = (),
        lead_ms: float = 40.0,
        session: str = "",
    ) -> Self:
        """Parse a client's options, common ones and the model's.

        Args:
            given: Options by name, as texts.
            family: The model's options.
            defaults: Defaults of the voice pack and the configuration.
            languages: The model's languages.
            lead_ms: Default lead, ms.
            session: Session key for engines that keep conversation history; empty for none.

        Raises:
            InvalidArgumentError: An option is unknown, reserved for voice packs, or has an invalid value.
        """
        check_count(given)
        if costly := sorted(name for name in given if name in family and family[name].pack):
            raise InvalidArgumentError(f"option {costly[0]} belongs to the voice pack; a session can't set it")
        offered = family["language"].choices if "language" in family else ()
        language = replace(COMMON["language"], choices=offered or languages)
        own = {name: option for name, option in family.items() if not option.internal}
        known = {**own, **COMMON, "language": language}
        if unknown := sorted(given.keys() - known.keys()):
            parse_options(dict.fromkeys(unknown, ""), {name: each for name, each in known.items() if not each.pack})
        values = parse_options({**(defaults or {}), **given}, known)
        lead_s = float(values.get("lead_ms", lead_ms)) / 1000
        loudness = values.get("loudness_lufs")
        engine = {name: value for name, value in values.items() if name in own}
        if session and "session" in family.keys() - own.keys():
            engine["session"] = session
        return cls(
            joined=values["text_mode"] == "tokens",
            flush_s=float(values["flush_ms"]) / 1000 or math.inf,
            lead_s=math.inf if values["pacing"] == "fast" else lead_s,
            loudness_lufs=None if loudness is None else float(loudness),
            language=str(values.get("language", "")),
            engine=engine,
        )
