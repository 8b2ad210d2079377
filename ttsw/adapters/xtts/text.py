"""Text as XTTS can take it: cut where it is too long, spelled out, in tokens, and with a bound for what becomes of it.

Reading (numbers, abbreviations, transliteration) is the library's tokenizer's. Its limits are kept: characters by
language, and tokens of the model. What can't be spoken, of which the library would make sound all the same, is nothing.
"""

import re
from collections.abc import Iterator, Sequence
from threading import Lock
from typing import NamedTuple

from ttsw.adapters.pytorch.splitting import split
from ttsw.adapters.xtts.imports import VoiceBpeTokenizer
from ttsw.errors import InvalidArgumentError, UnavailableError

MOST_CHARACTERS = 250
"""Of a part, where the library names no limit for a language; as it does itself."""

LEAST_S, PER_LETTER_S = 3.0, 0.2
"""Audio that a part may become at the voice's own tempo: 3 s, and so much for each letter of what is read (numbers as
words, Chinese as pinyin). Speech has 12 to 17 letters a second, so that this is three times what it takes."""

_HINDI = ("शून्य", "एक", "दो", "तीन", "चार", "पाँच", "छह", "सात", "आठ", "नौ")


class XttsTextPart(NamedTuple):
    """What is spoken at once.

    Args:
        tokens: The text's tokens.
        most_s: Audio that it may become, at the voice's own tempo, s.
    """

    tokens: Sequence[int]
    most_s: float


class XttsTextReader:
    """Reads text for one model.

    Args:
        tokenizer: The library's.
        most_tokens: Tokens that a part must stay below.
    """

    def __init__(self, tokenizer: VoiceBpeTokenizer, most_tokens: int) -> None:
        self._tokenizer, self._most = tokenizer, most_tokens
        marks = {tokenizer.tokenizer.token_to_id(mark) for mark in ("[UNK]", "[SPACE]")}
        self._mute = marks - {None}
        self._lock = Lock()  # the transliterators are not made for many threads

    def check(self, language: str) -> None:
        """See that a language can be read.

        Raises:
            UnavailableError: What the library needs for it isn't installed.
        """
        try:
            self._spell("a", language)
        except ImportError as error:
            raise UnavailableError(f"language {language!r} can't be read here: {error}") from error

    def read(self, text: str, language: str) -> Iterator[XttsTextPart]:
        """Yield the parts of a text; none where there is nothing to say.

        Raises:
            InvalidArgumentError: The library can't read it.
            UnavailableError: What the library needs for the language isn't installed.
        """
        limit = self._tokenizer.char_limits.get(_base(language), MOST_CHARACTERS)
        for words in split(text.strip().lower(), limit):
            yield from self._parts(words, language)

    def _parts(self, words: str, language: str) -> Iterator[XttsTextPart]:
        try:
            spelled = self._spell(words, language)
        except ImportError as error:
            raise UnavailableError(f"language {language!r} can't be read here: {error}") from error
        if not any(letter.isalnum() for letter in spelled):
            return
        tokens = self._tokens(spelled, language)
        if len(tokens) < self._most:
            if self._mute.issuperset(tokens[1:]):
                return
            yield XttsTextPart(tokens, LEAST_S + PER_LETTER_S * len(spelled))
        else:
            for half in split(words, -(-len(words) // 2)):
                yield from self._parts(half, language)

    def _spell(self, words: str, language: str) -> str:
        """Have words spelled out; where a number is too long for that, digit by digit."""
        if _base(language) == "hi":
            words = spell_digits(words)
        with self._lock:
            try:
                return str(self._tokenizer.preprocess_text(words, _base(language)))
            except ImportError:
                raise
            except Exception:
                try:
                    return str(self._tokenizer.preprocess_text(re.sub(r"\d", r" \g<0> ", words), _base(language)))
                except Exception as error:
                    raise InvalidArgumentError(f"the text can't be read as {language!r}: {error}") from error

    def _tokens(self, spelled: str, language: str) -> list[int]:
        """What the library's `encode` does with text that is spelled out."""
        marked = f"[{language}]{spelled}".replace(" ", "[SPACE]")
        return list(self._tokenizer.tokenizer.encode(marked).ids)


def spell_digits(words: str) -> str:
    """Write digits as Hindi words, one by one: the library's rules know no number in that language.

    >>> spell_digits("कमरा 12").split()
    ['कमरा', 'एक', 'दो']
    """
    return re.sub(r"\d", lambda digit: f" {_HINDI[int(digit[0])]} ", words)


def _base(language: str) -> str:
    """A language without its region, which is how the library's rules are named: zh for zh-cn."""
    return language.partition("-")[0]
