"""The segmenter: cuts a stream of text into sentence-sized segments, each as soon as it is complete.

It decides what becomes one inference. Sentences stay whole up to a limit; longer ones are cut. The limit of the first
segment is low, since a listener waits for it; it then grows with the text already handed out, so that each inference
finishes before the audio ahead of it runs dry. For example, a Piper voice speaks a character in 60-80 ms at RTF 0.11,
so the first 80 characters take at most 0.7 s to synthesise, and segments at most twice as long as the audio ahead leave
room for four such streams per core. `ttsw.text.speakable` cleans segments for engines.
"""

import re

from ttsw.text.boundaries import find_end
from ttsw.text.cuts import best_cut
from ttsw.text.marks import LOOK_AHEAD
from ttsw.text.pauses import Ending, judge_ending

MAX_CHARS = 250
FIRST_MAX_CHARS = 80

_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]")
_WIDE_WEIGHT = 3
_GROWTH = 2
_WORTH_SPEAKING = 20
"""Shortest piece of a cut sentence, characters, where there is a choice."""


class Segmenter:
    """Cuts a stream of text into segments.

    Joined, the segments are the text, white space and all. Which segments they are depends on the text alone, never on
    the pieces it came in. For texts that are complete when they come (`text_mode=chunks`), use `split`.

    Args:
        max_chars: Longest segment, characters, white space after it apart.
        first_max_chars: Longest first segment.

    >>> segmenter = Segmenter()
    >>> segmenter.push("Dr. Smith is in. He wa")
    ['Dr. Smith is in. ']
    >>> segmenter.push("its."), segmenter.finish()
    ([], ['He waits.'])
    """

    def __init__(self, max_chars: int = MAX_CHARS, first_max_chars: int = FIRST_MAX_CHARS) -> None:
        if not 1 <= first_max_chars <= max_chars:
            raise ValueError(f"first_max_chars {first_max_chars} must be from 1 to max_chars {max_chars}")
        self._max_chars = max_chars
        self._first_max_chars = first_max_chars
        self._reset()

    def _reset(self) -> None:
        self._pending = ""
        self._scanned = 0  # no sentence ends before this position of the segment
        self._emitted = 0

    @property
    def pending(self) -> str:
        """Text pushed but not yet handed out."""
        return self._pending

    def push(self, text: str) -> list[str]:
        """Add text.

        Returns:
            The segments that are complete now.
        """
        self._pending += text
        return self._take(final=False)

    def finish(self) -> list[str]:
        """End the text.

        Returns:
            The remaining segments. The next push begins a new text.
        """
        segments = self._take(final=True)
        self._reset()
        return segments

    def settle(self, *, certain: bool) -> list[str]:
        """Hand out finished sentences although more text may follow, since the stream pauses.

        Args:
            certain: Hand out only sentences that no further text could change.

        Returns:
            The segments; an unfinished sentence stays.

        >>> segmenter = Segmenter()
        >>> segmenter.push("Let me check."), segmenter.settle(certain=True), segmenter.settle(certain=False)
        ([], [], ['Let me check.'])
        >>> segmenter.push("It is. Ju"), segmenter.settle(certain=False), segmenter.pending
        ([], ['It is. '], 'Ju')
        """
        ending = judge_ending(self._pending)
        if ending is Ending.CERTAIN or (ending is Ending.PROBABLE and not certain):
            return self.finish()
        if certain or not self._pending:
            return []
        *segments, self._pending = self._take(final=True)
        self._scanned = 0
        self._emitted -= len(self._pending)
        return segments

    def _take(self, *, final: bool) -> list[str]:
        """Remove all complete segments; the text is copied once, however many they are."""
        segments = []
        start = 0
        while (end := self._next(start, final=final)) is not None:
            segments.append(self._pending[start:end])
            self._emitted += end - start
            self._scanned = 0
            start = end
        self._pending = self._pending[start:]
        return segments

    def _next(self, start: int, *, final: bool) -> int | None:
        """Return the end of the segment at `start`; None if undecided, or without text."""
        limit = self._limit(start)
        view = self._pending[
            start : start + limit + LOOK_AHEAD
        ]  # text beyond must not matter: it may not have arrived yet
        whole = final or len(view) == limit + LOOK_AHEAD
        end, self._scanned = find_end(view, self._scanned, whole=whole)
        if end is None and not (whole and view):
            return None
        content, stop = end or (len(view), len(view))
        return start + (stop if content <= limit else self._cut(view, limit, content))

    def _cut(self, view: str, limit: int, content: int) -> int:
        """Cut a sentence that exceeds `limit`, leaving a rest worth speaking."""
        low = min(_WORTH_SPEAKING, limit // 5) + 1
        high = min(limit, content - min(_WORTH_SPEAKING, limit // 3))
        return best_cut(view, low, high, early=self._emitted == 0)

    def _limit(self, start: int) -> int:
        """Return the longest segment at `start`. Wide characters count threefold, since they are syllables."""
        limit = min(self._max_chars, max(self._first_max_chars, _GROWTH * self._emitted))
        third = max(1, limit // _WIDE_WEIGHT)
        seen = min(len(self._pending), start + third)
        if len(_WIDE.findall(self._pending, start, seen)) * 2 > third:
            return third
        return limit


def split(text: str, max_chars: int = MAX_CHARS, first_max_chars: int = FIRST_MAX_CHARS) -> list[str]:
    """Split a complete text into segments.

    >>> split("Is it? It is.")
    ['Is it? ', 'It is.']
    """
    segmenter = Segmenter(max_chars, first_max_chars)
    return segmenter.push(text) + segmenter.finish()
