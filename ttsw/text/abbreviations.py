"""Full stops of abbreviations, initials and numbers, recognised by the words around them."""

# ruff: noqa: RUF001  # marks and words of many scripts are what this file is about

import re

from ttsw.text.marks import LOOK_AHEAD, QUOTES
from ttsw.text.words import (
    AFTER_ORDINAL,
    BEFORE_NUMBER,
    CAPITAL_ONLY,
    LOWER_CASE_ONLY,
    NEVER_LAST,
    SELDOM_LAST,
    STARTERS,
)

_WORD_BEFORE = re.compile(rf"(?:^|[\s([{{—–/{QUOTES}])([^\W_][\w.°-]*|§)$")
_ACRONYM = re.compile(r"(?:[^\W\d_]{1,2}\.)+[^\W\d_]{1,2}")
_ITEM_MARKS = " \t\n\r-*+(•‣▪◦⁃"


def goes_on(before: str, following: str, *, opens: bool) -> bool:
    """Return whether the full stop after `before` belongs to an abbreviation, an initial or an ordinal."""
    found = _WORD_BEFORE.search(before)
    if not found:
        return False
    word = found.group(1)
    lower = word.lower()
    heads_line = not before[: found.start(1)].strip(_ITEM_MARKS)
    if word.isdecimal():
        return (len(word) <= 3 and heads_line) or (len(word) <= 2 and following.lower() in AFTER_ORDINAL)
    if (lower in BEFORE_NUMBER or lower.endswith("str")) and following[:1].isdecimal():
        return True
    if lower in CAPITAL_ONLY and word.islower():
        return False
    if lower in NEVER_LAST or (len(word) == 1 and heads_line):
        return True
    return not opens and (len(word) == 1 or lower in SELDOM_LAST or _ACRONYM.fullmatch(word) is not None)


def is_opening(word: str) -> bool:
    """Return whether a word more likely opens a sentence than belongs to a name ("The", "It's").

    >>> is_opening("It’s"), is_opening("Smith")
    (True, False)
    """
    return not {word, word.replace("’", "'").partition("'")[0]}.isdisjoint(STARTERS)


def is_seldom_last(word: str) -> bool:
    """Return whether a word is an abbreviation that rarely ends a sentence ("St", "p.m")."""
    return word.lower() in SELDOM_LAST


def is_lower_case(before: str) -> bool:
    """Return whether a text has no capitals, and doesn't end with an abbreviation known only from such texts.

    >>> is_lower_case("hey there"), is_lower_case("Hey there"), is_lower_case("apples, pears, etc")
    (True, False, False)
    """
    word = _WORD_BEFORE.search(before[-LOOK_AHEAD:])
    return before == before.lower() and (word is None or word.group(1) not in LOWER_CASE_ONLY)
