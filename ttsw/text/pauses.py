"""Judging whether a sentence has ended where a stream of text pauses, without seeing what follows."""

# ruff: noqa: RUF001  # marks and words of many scripts are what this file is about

import re
from enum import Enum

from ttsw.text.abbreviations import goes_on
from ttsw.text.marks import CLOSERS, HARD, LINE, LOOK_AHEAD, SOFT

_LINES = re.compile(LINE)
_LAST_MARKS = re.compile(rf"[{SOFT}{HARD}]+[{SOFT}{HARD}{CLOSERS}]*$")
_PAIRS = (("「", "」"), ("『", "』"), ("“", "”"), ("（", "）"), ("《", "》"))


class Ending(Enum):
    """Verdict on the end of a text."""

    OPEN = "a sentence is under way"
    PROBABLE = "a sentence has ended, unless what follows tells otherwise"
    CERTAIN = "a sentence has ended, whatever follows"


def judge_ending(text: str) -> Ending:
    r"""Judge the end of a text that may continue.

    >>> [judge_ending(text).name for text in ("Let me check.", "I met Dr.", "你好。", "A title\n\n", "and th")]
    ['PROBABLE', 'OPEN', 'CERTAIN', 'CERTAIN', 'OPEN']
    """
    body = text.rstrip()
    if not body:
        return Ending.OPEN
    if len(_LINES.findall(text, len(body))) > 1:
        return Ending.CERTAIN
    run = _LAST_MARKS.search(body, max(0, len(body) - LOOK_AHEAD))
    if run is None or body[: run.start()].endswith(("(", "[")):
        return Ending.OPEN
    marks = run.group()
    if any(mark in HARD for mark in marks):
        quoted = marks[-1] in CLOSERS or any(body.count(left) > body.count(right) for left, right in _PAIRS)
        return Ending.PROBABLE if quoted else Ending.CERTAIN
    before = body[max(0, run.start() - LOOK_AHEAD) : run.start()]
    abbreviated = marks.rstrip(CLOSERS) == "." and goes_on(before, "", opens=True)
    return Ending.OPEN if abbreviated else Ending.PROBABLE
