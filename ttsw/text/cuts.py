"""Cutting a sentence that is too long for one inference.

In order of preference: at a clause mark, before a conjunction, at white space, and only without any of these between
two characters, never within one grapheme (an accent, a compound emoji). The first piece is cut at the earliest good
place, since a listener waits for it; later ones at the last.
"""

# ruff: noqa: RUF001  # marks and words of many scripts are what this file is about

import re
import unicodedata

from ttsw.text.marks import CLOSERS
from ttsw.text.words import JOINTS

_CLAUSE = re.compile(
    rf"[,;:!?…،؛][{CLOSERS}]*\s+"
    rf"|[)\]][,;:]?\s+"
    rf"|[，、；：。！？][{CLOSERS}]*\s*"
    r"|(?<=\s)[-–]\s+|[—―]+\s*"
    r"|[\n\r\u2028\u2029]\s*"
)
_JOINT = re.compile(rf"\s(?=(?:{'|'.join(sorted(JOINTS))})\s)", re.IGNORECASE)
_SPACE = re.compile(r"\s+")
_STICKY = re.compile("[\u200c\u200d\ufe00-\ufe0f\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f\u1160-\u11ff]")
_LONGEST_CLUSTER = 16


def best_cut(text: str, low: int, high: int, *, early: bool) -> int:
    """Return where to cut `text`.

    Args:
        text: The text from the start of the piece.
        low: Earliest place that leaves a piece worth speaking.
        high: Last allowed place.
        early: Whether to prefer the earliest good place to the last.

    Returns:
        Start of the next piece; 1 or more.
    """
    middle = high // 2
    for pattern, lowest in ((_CLAUSE, middle), (_CLAUSE, low), (_JOINT, middle), (_SPACE, middle), (_SPACE, low)):
        places = [match.end() for match in pattern.finditer(text, 0, high) if match.end() >= lowest]
        if places:
            return places[0] if early and lowest == middle and pattern is not _SPACE else places[-1]
    return _between_clusters(text, high)


def _between_clusters(text: str, high: int) -> int:
    for place in range(high, max(0, high - _LONGEST_CLUSTER), -1):
        if not _is_one(text[place - 1], text[place : place + 1]):
            return place
    return high


def _is_one(left: str, right: str) -> bool:
    """Return whether two adjacent characters form one grapheme."""
    return (
        (right != "" and unicodedata.category(right)[0] == "M")
        or _STICKY.match(right) is not None
        or left == "\u200d"
        or ("\U0001f1e6" <= left <= "\U0001f1ff" and "\U0001f1e6" <= right <= "\U0001f1ff")
    )
