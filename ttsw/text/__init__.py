"""Splitting text into segments, and cleaning them for engines. Pure: no clock, no event loop, no log.

`ttsw.text.boundaries` decides sentence ends, rather than a library: none of those tried takes a stream, keeps every
character and bounds a segment, and wrapping one costs more than the rules. Texts split entirely correctly, of the first
108 in `tests/unit/text/hard_cases.txt` (collected along with these rules, hence all correct) / of the 48 English
"golden rules" of pysbd: these rules 108 / 39, sentencex 1.0 79 / 43, pysbd 0.3 71 / 47, blingfire 0.1 70 / 36,
sentence-stream 1.3 66 / 33, syntok 1.4 59 / 34, segtok 1.5 58 / 30, nltk's untrained punkt 40 / 19. These rules miss
mostly lists within a line ("1. One 2. Two").
"""

from ttsw.text.scripts import scripts_of, unreadable, without_unreadable
from ttsw.text.segmenter import FIRST_MAX_CHARS, MAX_CHARS, Segmenter, split
from ttsw.text.speakable import clean, has_speech

__all__ = [
    "FIRST_MAX_CHARS",
    "MAX_CHARS",
    "Segmenter",
    "clean",
    "has_speech",
    "scripts_of",
    "split",
    "unreadable",
    "without_unreadable",
]
