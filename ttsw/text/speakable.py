"""Cleaning segments for engines.

Segments keep every character of the text. On the way to an engine they lose what isn't speech: control and format
characters, lone surrogates, private and unassigned code points, emoji, and markup (espeak reads "**" as "asterisk
asterisk", and an emoji by its name). An engine given a text without words makes up sounds or fails; `has_speech` says
whether there are any.
"""

import re
import unicodedata

_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufe00-\ufe0f\ufffc\ufffd]")
"""Invisible characters in the categories of letters, marks and symbols."""

_EMOJI = re.compile("[\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff]")
_MARKUP = re.compile(
    r"^(?:[*+•>_~-]+ |#{1,6} )+"  # an item, a title, a quotation
    r"|(?<=\S)[*_~`]++(?!\w)|(?<!\w)[*_~`]++(?=\S)"  # emphasis; but neither 2 * 3 nor snake_case
)
_JOINERS = "\u200c\u200d"
_JOINED_SCRIPTS = re.compile("[\u0590-\u1fff]")
_SPOKEN_SYMBOLS = frozenset("%‰&@+=§°±×÷√∞™©®№℃℉µ")


def clean(text: str) -> str:
    r"""Clean a segment: composed, on one line, without inaudible characters.

    Joiners stay within the scripts that spell with them (Persian, Hindi …).

    >>> clean("  Cafe\u0301\x00\u202e \ud800 au\nlait \U0001f600 ")
    'Café au lait'
    >>> clean("## An *important* point: 2 * 3")
    'An important point: 2 * 3'
    """
    if not (text.isascii() and text.isprintable()):
        text = unicodedata.normalize("NFC", text)
        text = "".join(_kept(text, at, char) for at, char in enumerate(text))
    text = " ".join(text.split())
    while (plain := _MARKUP.sub("", text).strip()) != text:  # markup within markup
        text = " ".join(plain.split())
    return text


def has_speech(text: str) -> bool:
    r"""Return whether `text` has anything to speak: a letter, a digit, or a symbol that is read out.

    >>> has_speech("5 %"), has_speech("€"), has_speech(" ... \U0001f600 - \u200b")
    (True, True, False)
    """
    return any(
        char.isalnum() or char in _SPOKEN_SYMBOLS or unicodedata.category(char) == "Sc"
        for char in text
        if _sounds(char)
    )


def _kept(text: str, at: int, char: str) -> str:
    if char.isspace():
        return " "
    if char in _JOINERS:
        left, right = text[at - 1 : at], text[at + 1 : at + 2]
        return char if _JOINED_SCRIPTS.match(left) and _JOINED_SCRIPTS.match(right) else ""
    return char if _sounds(char) else ""


def _sounds(char: str) -> bool:
    """Return whether a character has a sound."""
    if char.isascii():
        return char.isprintable()
    return unicodedata.category(char)[0] != "C" and not _UNSEEN.match(char) and not _EMOJI.match(char)
