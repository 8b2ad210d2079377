"""Splitting a text that is too long for one inference."""

import re
from collections.abc import Iterator

_SPACE = re.compile(r"\s")
_PLACES = (re.compile(r"[.!?…؟।][\"”’»)]*\s|[。！？]"), re.compile(r"[,;:—–،؛][\"”’»)]*\s|[，、；：]"), _SPACE)  # noqa: RUF001


def split(text: str, most: int) -> Iterator[str]:
    """Yield parts of at most `most` characters, cut after a sentence, else a clause, else a word.

    >>> [*split("One, two. Three four, five.", 14)]
    ['One, two.', 'Three four,', 'five.']
    """
    text = text.strip()
    while len(text) > most:
        cut = _place(text, most)
        yield text[:cut].rstrip()
        text = text[cut:].lstrip()
    if text:
        yield text


def _place(text: str, most: int) -> int:
    """Return the last place of the best kind in the second half of a part, or else any space."""
    window = text[: most + 1]
    for kind, least in (*((kind, most // 2) for kind in _PLACES), (_SPACE, 0)):
        ends = (len(window[: found.end()].rstrip()) for found in kind.finditer(window))
        if fitting := [end for end in ends if least < end <= most]:
            return fitting[-1]
    return most
