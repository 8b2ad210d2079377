"""Options: names, types and bounds, and parsing their values.

On the wire every option is a string. An `Option` parses it, or says what would be valid.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ttsw.errors import InvalidArgumentError
from ttsw.languages import match_language

LONGEST_NUMBER = 64
"""Longest number, characters."""

LONGEST_TAG = 64
"""Longest language tag, characters."""

MOST_OPTIONS = 64
"""Most options of one session, or of one voice pack; no family has half as many."""

MOST_NAMED = 8
"""Most unknown options named in a message."""

_WHOLE = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
"""Numbers in plain notation; Python also accepts "1_000", " 1", and digits of any script."""

OptionValue = float | int | str


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its type, bounds and default.

    Args:
        kind: Type of the value: `float`, `int`, `str`, or `language`, a language tag that matches one of `choices`.
        help: One line for people.
        default: Value if the option isn't given; None lets the engine decide.
        low: Lower bound, inclusive.
        high: Upper bound, inclusive.
        choices: Valid texts; empty means any.
        voice: Whether different values are different voices, each with its own loudness.
        internal: Whether the worker sets it: clients neither see nor set it.
        pack: Whether only the voice pack or the configuration may set it, because of what it costs.
        longest: Longest text, characters.
    """

    kind: Literal["float", "int", "str", "language"]
    help: str
    default: OptionValue | None = None
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()
    voice: bool = False
    internal: bool = False
    pack: bool = False
    longest: int = 256

    def parse(self, name: str, text: str) -> OptionValue:
        """Parse `text` as this option's value.

        Raises:
            InvalidArgumentError: The value isn't valid; the message names the option, the value and the valid values.
        """
        if self.kind == "language":
            if len(text) > LONGEST_TAG:
                raise self._refusal(name, text)
            found = match_language(text, self.choices) if self.choices else text
            if found is None:
                raise self._refusal(name, text)
            return found
        if self.kind == "str":
            if len(text) > self.longest or (self.choices and text not in self.choices):
                raise self._refusal(name, text)
            return text
        if len(text) > LONGEST_NUMBER or not (_WHOLE if self.kind == "int" else _NUMBER).fullmatch(text):
            raise self._refusal(name, text)
        value = int(text) if self.kind == "int" else float(text)
        if not self.low <= value <= self.high or not math.isfinite(value):
            raise self._refusal(name, text)
        return value

    def describe(self) -> str:
        """Describe the valid values: "a number from 0.25 to 4", "one of: chunks, tokens"."""
        if self.choices:
            return "one of: " + ", ".join(self.choices)
        if self.kind in {"str", "language"}:
            return f"a text of at most {self.longest} characters" if self.kind == "str" else "a language tag"
        noun = "a whole number" if self.kind == "int" else "a number"
        if math.isinf(self.low) and math.isinf(self.high):
            return noun
        return f"{noun} from {self.low:g} to {self.high:g}"

    def _refusal(self, name: str, text: str) -> InvalidArgumentError:
        shown = text if len(text) <= 40 else text[:40] + "…"
        return InvalidArgumentError(f"option {name}={shown!r} is not valid: it must be {self.describe()}")


def parse_options(given: Mapping[str, str], known: Mapping[str, Option]) -> dict[str, OptionValue]:
    """Parse options; those not given get their default, if they have one.

    >>> parse_options({"speed": "2"}, {"speed": Option("float", "tempo", 1.0), "seed": Option("int", "…")})
    {'speed': 2.0}

    Raises:
        InvalidArgumentError: There are too many, a name is unknown (the message lists the valid ones), or a value isn't
            valid.
    """
    check_count(given)
    unknown = sorted(set(given) - set(known))
    if unknown:
        named = ", ".join(repr(name[:40]) for name in unknown[:MOST_NAMED]) + ", …" * (len(unknown) > MOST_NAMED)
        raise InvalidArgumentError(
            f"unknown option{'s' * (len(unknown) > 1)} {named}; valid are: {', '.join(sorted(known))}"
        )
    defaults = {name: option.default for name, option in known.items() if option.default is not None}
    return defaults | {name: known[name].parse(name, text) for name, text in given.items()}


def check_count(given: Mapping[str, str]) -> None:
    """Refuse too many options before reading any.

    Raises:
        InvalidArgumentError: There are too many.
    """
    if len(given) > MOST_OPTIONS:
        raise InvalidArgumentError(f"{len(given)} options are given; at most {MOST_OPTIONS} are possible")
