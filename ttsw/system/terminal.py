"""Which text from elsewhere is safe to show in a terminal, and how the rest of it is spelled.

Names and messages of other programs, files and clients are shown by the command line and the console's log. A control
character moves a terminal's cursor, a bidirectional one reorders what stands beside it, and an invisible one makes two
names look the same. All of these are written as escapes; letters and visible spaces of all languages stay.
"""

import json
import re
import unicodedata
from collections.abc import Callable

_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
"""Characters that count as printable and show nothing: joiners, fillers and selectors of variants."""


def is_safe(text: str, keep: str = "") -> bool:
    """Whether a terminal shows `text` as it is written.

    Args:
        text: A text from elsewhere.
        keep: Characters that are fine as well, such as a newline in prose.
    """
    plain = text.isprintable() and (text.isascii() or _INVISIBLE.search(text) is None)
    return plain or all(_is_safe(letter) or letter in keep for letter in text)


def make_safe(text: str, keep: str = "", *, escape: Callable[[str], str] = lambda letter: ascii(letter)[1:-1]) -> str:
    r"""Write characters that aren't safe to show as escapes.

    >>> print(make_safe("two\x1b[2J \u202eowt"))
    two\x1b[2J \u202eowt

    Args:
        text: A text from elsewhere.
        keep: Characters that stay nevertheless, such as a newline in prose.
        escape: Spells one character.
    """
    if is_safe(text, keep):
        return text
    return "".join(letter if _is_safe(letter) or letter in keep else escape(letter) for letter in text)


def safe_json(value: object, *, ascii_only: bool = False, indent: int | None = 2) -> str:
    """Write JSON that is safe to show; it says the same, since what would not be safe is escaped as JSON has it.

    Args:
        value: What to write; objects that JSON doesn't know are written as texts.
        ascii_only: Whether to escape all letters but ASCII.
        indent: Columns of each level; None for one line.
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
