"""The options of a session that belong to no family: how text is taken, how frames are paced, how loud."""

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
    """A session's options, parsed.

    Args:
        joined: Whether chunks of text are joined to the letter.
        flush_s: How long joined text has to be quiet before its last finished sentence is spoken, s; `inf` for ever.
        lead_s: How far ahead of real time frames are sent, s; `inf` for `pacing=fast`.
        loudness_lufs: The target, LUFS; None means the worker's.
        language: The model's language that the text is in; empty where the session doesn't say.
        engine: What the engine is given.
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
        """Parse what a client gave, against the common options and those of the model.

        Args:
            given: Options by name, as texts.
            family: The model's own options.
            defaults: What the voice pack and the configuration give where the client gives nothing.
            languages: The languages that the model speaks.
            lead_ms: The worker's default lead, ms.
            session: What engines are to know the session by that remember what they have said; empty for none.

        Raises:
            InvalidArgumentError: An option is unknown, not for clients to set, or its value isn't valid.
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
