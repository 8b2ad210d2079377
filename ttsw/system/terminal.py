"""Making foreign text safe to show in a terminal.

The command line and the console log show names and messages of other programs, files and clients. A control character
moves the cursor, a bidirectional one reorders the text beside it, and an invisible one makes two names look the same.
All of these are escaped; letters and visible spaces of all languages stay.
"""

import json
import re
import unicodedata
from collections.abc import Callable

_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
"""Invisible characters that count as printable: joiners, fillers and variation selectors."""


def is_safe(text: str, keep: str = "") -> bool:
    """Return whether a terminal shows `text` as it is.

    Args:
        text: A foreign text.
        keep: Further allowed characters, such as a newline in prose.
    """
    plain = text.isprintable() and (text.isascii() or _INVISIBLE.search(text) is None)
    return plain or all(_is_safe(letter) or letter in keep for letter in text)


def make_safe(text: str, keep: str = "", *, escape: Callable[[str], str] = lambda letter: ascii(letter)[1:-1]) -> str:
    r"""Escape the characters that aren't safe to show.

    >>> print(make_safe("two\x1b[2J \u202eowt"))
    two\x1b[2J \u202eowt

    Args:
        text: A foreign text.
        keep: Further allowed characters, such as a newline in prose.
        escape: Escapes one character.
    """
    if is_safe(text, keep):
        return text
    return "".join(letter if _is_safe(letter) or letter in keep else escape(letter) for letter in text)


def safe_json(value: object, *, ascii_only: bool = False, indent: int | None = 2) -> str:
    """Return JSON that is safe to show and has the same meaning, with unsafe characters escaped.

    Args:
        value: The value; objects unknown to JSON are written as texts.
        ascii_only: Whether to escape all non-ASCII characters.
        indent: Indentation, columns; None for one line.
    """
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent, default=str)
    return make_safe(text, "\n", escape=_escape_json)


def _escape_json(letter: str) -> str:
    units = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def _is_safe(letter: str) -> bool:
    if letter.isprintable():
        return _INVISIBLE.match(letter) is None
    return unicodedata.category(letter) == "Zs"
