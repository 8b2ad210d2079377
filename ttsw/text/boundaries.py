"""Sentence boundaries, decided from a bounded view of the text, and never revised.

Judging a mark requires what follows it: closing quotes, white space, the next word. `find_end` returns None while that
is missing; every other answer holds for any continuation. So segments don't depend on how a stream was chunked.
`ttsw.text.cuts` decides where an overlong sentence is cut.
"""

# ruff: noqa: RUF001  # marks and words of many scripts are what this file is about

import re
from typing import NamedTuple

from ttsw.text.abbreviations import goes_on, is_lower_case, is_opening
from ttsw.text.marks import CLOSERS, HARD, LINE, LOOK_AHEAD, QUOTES, SOFT
from ttsw.text.unspaced import ends_glued

_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]")

_MARK = re.compile(rf"[{SOFT}{HARD}]|{LINE}")
_RUN = re.compile(rf"[{SOFT}{HARD}]+(?:[ \u00a0]\.+)*[{SOFT}{HARD}{CLOSERS}]*(?:[ \u00a0\u202f]»)?")
_SPACE = re.compile(r"\s*")
_LINES = re.compile(LINE)
_OPENERS = re.compile(rf"[\s([{{（《【〔〈{QUOTES}-]{{0,8}}")
_BULLET = re.compile(r"(?:[-*+•‣▪◦⁃–—·>|]|#{1,6}|\(?\d{1,3}[.)]|\(?[A-Za-z]\))\s")
_BULLET_CHARS = 7
_WORD = re.compile(rf"[\w'’]{{0,{LOOK_AHEAD}}}")


class End(NamedTuple):
    """The end of a sentence.

    Attributes:
        content: End of its last mark.
        stop: End of the white space after it.
    """

    content: int
    stop: int


def find_end(text: str, scan: int, *, whole: bool) -> tuple[End | None, int]:
    """Find the first sentence end in a segment's text, at or after `scan`.

    Args:
        text: The text from the segment's start.
        scan: Position up to which no sentence ends, as an earlier call for a shorter `text` returned it.
        whole: Whether the text is complete.

    Returns:
        The end, or None if there is none yet; and the position from which to continue once there is more text.
    """
    while mark := _MARK.search(text, scan):
        judge = _line_end if mark.group().isspace() else _sentence_end
        verdict = judge(text, mark.start(), whole)
        if verdict is None:
            return None, mark.start()
        if isinstance(verdict, End):
            return verdict, verdict.stop
        scan = verdict
    return None, len(text)


def _sentence_end(text: str, at: int, whole: bool) -> End | int | None:
    """Judge the marks at `at`: return an end, the position to continue from, or None to wait."""
    content = _end_of(_RUN, text, at)
    after = _end_of(_SPACE, text, content)
    if after == len(text):
        return End(content, after) if whole else None
    marks = text[at:content]
    if at and text[at - 1] in "([":
        return content  # an ellipsis [...], or a comment (!)
    if any(mark in HARD for mark in marks):
        return after if _quoted_on(marks, text[after]) else End(content, after)
    if after == content:
        joined = at and _CJK.match(text[at - 1]) and _CJK.match(text[after])
        ends = True if joined else ends_glued(text, at, content, whole=whole)
    elif (lines := len(_LINES.findall(text, content, after))) > 1:
        ends = True
    else:
        ends = _ends_before(text, at, after, whole, marks=marks, line=lines == 1)
    return ends if ends is None else End(content, after) if ends else after


def _line_end(text: str, at: int, whole: bool) -> End | int | None:
    """Judge the line break at `at`: a blank line, or the end of a list item or title line, ends a sentence."""
    after = _end_of(_SPACE, text, at)
    if after + _BULLET_CHARS > len(text) and not whole:
        return None
    before = text[:at].strip()
    ends = (
        len(_LINES.findall(text, at, after)) > 1
        or _BULLET.match(text, after)
        or before.endswith((":", "："))
        or (_BULLET.match(before) and not text[after : after + 1].islower())
    )
    return End(at, after) if before and ends else after


def _ends_before(text: str, at: int, after: int, whole: bool, *, marks: str, line: bool) -> bool | None:
    """Judge by the surrounding words whether the marks at `at` end a sentence; None to wait."""
    word = _end_of(_OPENERS, text, after)
    word_end = _end_of(_WORD, text, word)
    if word_end == len(text) and not whole:
        return None
    following = text[word:word_end]
    opens = is_opening(following) and not (len(following) == 1 and text.startswith(".", word_end))
    if marks.rstrip(CLOSERS) == "." and goes_on(text[max(0, at - LOOK_AHEAD) : at], following, opens=opens):
        return False
    if not text[word : word + 1].islower():
        return True
    return line or (marks[-1] not in CLOSERS and is_lower_case(text[:at]))


def _quoted_on(marks: str, following: str) -> bool:
    """Return whether a sentence continues after a Japanese quotation: 「…。」と言った."""
    return marks[-1] in CLOSERS and following in "とっ"


def _end_of(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at
