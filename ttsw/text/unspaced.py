"""Sentence ends at a mark that the next word follows without a space ("Sure!Here it is").

Domains, file names, versions, decimals and initials contain such marks, too ("Node.js", "v2.0.1", "a.b"). A sentence
ends only between a plain word and one written as the first of a sentence.
"""

import re

from ttsw.text.abbreviations import goes_on, is_opening, is_seldom_last
from ttsw.text.marks import CLOSERS, LOOK_AHEAD, QUOTES

_BEFORE = re.compile(
    rf"(?:^|[\s([{{—–{QUOTES}])([^\W\d_](?:[^\W\d_]|['’](?=[^\W\d_]))*|[$€£¥]?\d[\d.,]*)[ \u00a0\u202f]?$"
)
_FOLLOWING = re.compile(rf"[{QUOTES}(]?([^\W\d_](?:[^\W\d_]|['’](?=[^\W\d_]))*)")
_NAME_GOES_ON = re.compile(r"[._/@:=&\\]\w|\(")
_PAUSE = re.compile(r"\.\.+|…")


def ends_glued(text: str, at: int, content: int, *, whole: bool) -> bool | None:
    """Judge the marks from `at` to `content`, which no white space follows; None to wait for more text."""
    following = _FOLLOWING.match(text, content, content + LOOK_AHEAD)
    if following is None:
        return None if content + 1 >= len(text) and not whole else False
    if following.end() + 2 > len(text) and not whole:
        return None
    before = _BEFORE.search(text[max(0, at - LOOK_AHEAD) : at])
    if before is None or _NAME_GOES_ON.match(text, following.end()):
        return False
    marks = text[at:content].rstrip(CLOSERS)
    return not _PAUSE.fullmatch(marks) and _are_two_sentences(before.group(1), marks, following.group(1))


def _are_two_sentences(word: str, marks: str, opening: str) -> bool:
    if not opening[0].isupper() or not (opening[1:].islower() or is_opening(opening)):
        return False
    if not word[-1].isalpha():  # a number
        return is_opening(opening)
    if marks == "." and (len(word) == 1 or is_seldom_last(word) or goes_on(word, opening, opens=True)):
        return False
    return is_opening(opening) or marks != "." or word[1:].islower()
