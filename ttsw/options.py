"""Options: what a name means, which texts are valid values for it, and what value such a text has.

On the wire every option is a string. An `Option` turns one into a value, or says in a sentence what would be valid.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ttsw.errors import InvalidArgumentError
from ttsw.languages import match_language

LONGEST_NUMBER = 64
"""Characters of a number."""

LONGEST_TAG = 64
"""Characters of a language tag."""

MOST_OPTIONS = 64
"""Options that one session, or one voice pack, may give; no family has half as many."""

MOST_NAMED = 8
"""Unknown options that a refusal names."""

_WHOLE = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
"""Numbers as every language writes them: Python's own take "1_000", " 1", and digits of any script too."""

OptionValue = float | int | str


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its type, its bounds and its default.

    Args:
        kind: What a value is: `float`, `int`, `str`, or `language`, a language tag that stands for one of `choices`.
        help: One line for a person.
        default: The value where the option isn't given; None means that the engine decides.
        low: Least valid number, inclusive.
        high: Greatest valid number, inclusive.
        choices: The valid texts; empty means any.
        voice: Whether another value is another voice, of a loudness of its own.
        internal: Whether the worker gives its value: clients neither see nor set it.
        pack: Whether its value is the voice pack's or the configuration's: what it costs is not for a client to say.
        longest: Characters of a text that is a value.
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
        """Turn `text` into this option's value.

        Raises:
            InvalidArgumentError: `text` is no such value; the message names the option, the text and what is valid.
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
        """Say what is valid: "a number from 0.25 to 4", "one of: chunks, tokens"."""
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
    """Parse all of `given`; options that aren't given get their default, where they have one.

    >>> parse_options({"speed": "2"}, {"speed": Option("float", "tempo", 1.0), "seed": Option("int", "…")})
    {'speed': 2.0}

    Raises:
        InvalidArgumentError: There are too many, a name is unknown (the message lists those that exist) or a value is
            not valid.
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
    """Refuse more options than anybody has a use for, before any of them is looked at.

    Raises:
        InvalidArgumentError: There are more.
    """
    if len(given) > MOST_OPTIONS:
        raise InvalidArgumentError(f"{len(given)} options are given; at most {MOST_OPTIONS} are possible")
