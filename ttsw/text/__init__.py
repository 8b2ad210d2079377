"""Text to segments, and segments to what an engine may see. Pure: no clock, no loop, no log.

Sentence ends are decided here, by `ttsw.text.boundaries`, and not by a library. On the 96 texts of
`tests/unit/text/hard_cases.txt` (14 kinds, 10 languages; libraries set to English) these were wholly right: …
"""

from ttsw.text.segmenter import FIRST_MAX_CHARS, MAX_CHARS, Segmenter, split
from ttsw.text.speakable import clean, has_speech

__all__ = ["FIRST_MAX_CHARS", "MAX_CHARS", "Segmenter", "clean", "has_speech", "split"]
