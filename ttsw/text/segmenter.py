"""Text to segments: pieces of a sentence's size, as soon as each is complete, for any chunking of the text.

The segmenter decides what is spoken as one inference. Sentences stay whole up to a limit, longer ones are cut. The
limit of the first segment is low, because somebody waits for it; it then grows with the text already handed out, so
that each inference is done before the audio ahead of it runs dry. Figures: a Piper voice speaks a character in 60-80 ms
at RTF 0.11, so the first 80 characters take 0.7 s to make at most, and a segment at most twice as long as what is being
played leaves room for four such streams on a core. What engines may see of a segment, `ttsw.text.speakable` decides.
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
"""Characters that a piece of a sentence has at least, where there is a choice."""


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
        self._scanned = 0  # up to here in the segment, no sentence ends
        self._emitted = 0

    @property
    def pending(self) -> str:
        """The text pushed and not yet handed out."""
        return self._pending

    def push(self, text: str) -> list[str]:
        """Take more text.

        Returns:
            The segments that are now complete.
        """
        self._pending += text
        return self._take(final=False)

    def finish(self) -> list[str]:
        """End the text.

        Returns:
            What was left of it. The next push begins a new text.
        """
        segments = self._take(final=True)
        self._reset()
        return segments

    def settle(self, *, certain: bool) -> list[str]:
        """Hand out finished sentences although more text may follow, since none has come for a while.

        Args:
            certain: Only where no text to come could change that they are finished.

        Returns:
            The segments; a sentence under way stays.

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
        """Cut off all segments that are complete; the text is copied once, however many there are."""
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
        """Find where the segment at `start` ends; None where that's not decided yet, or no text is left."""
        limit = self._limit(start)
        view = self._pending[start : start + limit + LOOK_AHEAD]  # nothing beyond may decide: it might not be here yet
        whole = final or len(view) == limit + LOOK_AHEAD
        end, self._scanned = find_end(view, self._scanned, whole=whole)
        if end is None and not (whole and view):
            return None
        content, stop = end or (len(view), len(view))
        return start + (stop if content <= limit else self._cut(view, limit, content))

    def _cut(self, view: str, limit: int, content: int) -> int:
        """Cut a sentence that ends beyond `limit`, leaving a rest worth speaking."""
        low = min(_WORTH_SPEAKING, limit // 5) + 1
        high = min(limit, content - min(_WORTH_SPEAKING, limit // 3))
        return best_cut(view, low, high, early=self._emitted == 0)

    def _limit(self, start: int) -> int:
        """The longest segment at `start`. Wide characters count threefold, as they are syllables."""
        limit = min(self._max_chars, max(self._first_max_chars, _GROWTH * self._emitted))
        third = max(1, limit // _WIDE_WEIGHT)
        seen = min(len(self._pending), start + third)
        if len(_WIDE.findall(self._pending, start, seen)) * 2 > third:
            return third
        return limit


def split(text: str, max_chars: int = MAX_CHARS, first_max_chars: int = FIRST_MAX_CHARS) -> list[str]:
    """Cut a whole text into segments.

    >>> split("Is it? It is.")
    ['Is it? ', 'It is.']
    """
    segmenter = Segmenter(max_chars, first_max_chars)
    return segmenter.push(text) + segmenter.finish()
