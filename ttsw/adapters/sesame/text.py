"""Text as CSM can take it: in parts that it can speak at once, in tokens, and with a bound for what becomes of it.

CSM reads text as it is written, numbers and all. A part is short enough that its audio and what was said before fit
into the model's memory. What can't be spoken, of which the model would make sound all the same, is nothing.
"""

from collections.abc import Iterator
from typing import NamedTuple

from tokenizers import Tokenizer

from ttsw.adapters.pytorch.splitting import split
from ttsw.adapters.sesame.files import BEGIN, END

MOST_CHARACTERS = 300
"""Of a part: some 20 s of speech, a minute at most, of the two and a half that the model's memory holds."""

LEAST_S, PER_LETTER_S = 3.0, 0.2
"""Audio that a part may become: 3 s, and so much for each letter. Speech has 12 to 17 letters a second, so that this is
three times what it takes."""


class CsmTextPart(NamedTuple):
    """What is spoken at once.

    Args:
        tokens: What the model reads: the speaker, and the text.
        most_s: Audio that it may become, s.
    """

    tokens: tuple[int, ...]
    most_s: float


class CsmTextReader:
    """Reads text for one model.

    Args:
        tokenizer: The model's.
        most_tokens: Tokens that a part may have.
    """

    def __init__(self, tokenizer: Tokenizer, most_tokens: int) -> None:
        self._tokenizer, self._most = tokenizer, most_tokens
        known = tokenizer.get_vocab(with_added_tokens=True)
        self._begin, self._end = known[BEGIN], known[END]

    def read(self, text: str, speaker: int) -> Iterator[CsmTextPart]:
        """Yield the parts of a text; none where there is nothing to say."""
        for words in split(text, MOST_CHARACTERS):
            yield from self._parts(words, speaker)

    def encode(self, words: str, speaker: int) -> tuple[int, ...]:
        """Give the tokens of what somebody says, with the marks around them, as the model was trained to read it."""
        ids = self._tokenizer.encode(f"[{speaker}]{words}", add_special_tokens=False).ids
        return (self._begin, *ids, self._end)

    def _parts(self, words: str, speaker: int) -> Iterator[CsmTextPart]:
        if not any(letter.isalnum() for letter in words):
            return
        tokens = self.encode(words, speaker)
        if len(tokens) <= self._most or len(words) < 2:
            yield CsmTextPart(tokens[: self._most], LEAST_S + PER_LETTER_S * len(words))
        else:
            for half in split(words, -(-len(words) // 2)):
                yield from self._parts(half, speaker)
