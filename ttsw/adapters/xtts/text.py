"""Texts as XTTS can take them: how long, in which words, for how much audio at most."""

import re
from collections.abc import Callable, Iterator

LIMIT = 250
"""Characters that a language which Coqui gives no limit for can take at once."""

LEAST_S, PER_CHARACTER_S, PER_SIGN_S = 3.0, 0.2, 0.6
"""Audio that a text may become: three times what slow speech takes (15 characters a second are usual, or 5 signs of
Chinese, Japanese or Korean), and 3 s for what precedes and follows it. XTTS is known to babble on after short texts."""

SIGNS = frozenset({"zh", "ja", "ko"})

_PLACES = (re.compile(r"[.!?;:。！？；：…]\s*"), re.compile(r"[,、，)\]»”]\s*"), re.compile(r"\s+"))
_HINDI = ("शून्य", "एक", "दो", "तीन", "चार", "पाँच", "छह", "सात", "आठ", "नौ")


def base(language: str) -> str:
    """Leave a language's region away, as Coqui's tokenizer does.

    >>> base("zh-cn")
    'zh'
    """
    return language.partition("-")[0]


def most_seconds(text: str, language: str) -> float:
    """Say how much audio a text can become before something must be wrong, s, at the voice's own tempo."""
    return LEAST_S + len(text) * (PER_SIGN_S if base(language) in SIGNS else PER_CHARACTER_S)


def parts(text: str, limit: int, fits: Callable[[str], bool] = lambda _: True) -> Iterator[str]:
    """Cut a text that is too long, after a sentence if there is one to be had, else a clause, else a word.

    >>> list(parts("One, two. Three four.", 12))
    ['One, two.', 'Three four.']

    Args:
        text: The text.
        limit: Characters of a part.
        fits: Says whether a part is short enough in other ways; one that isn't is cut in the middle.
    """
    text = text.strip()
    while text:
        size = len(text) if len(text) <= limit else _place(text, limit)
        while not fits(text[:size]) and size > 1:
            size = _place(text, size // 2)
        if part := text[:size].strip():
            yield part
        text = text[size:].strip()


def _place(text: str, limit: int) -> int:
    """Where to cut: the last place of the best kind in the second half of what may be taken."""
    limit = max(1, limit)
    for kind in _PLACES:
        ends = [found.end() for found in kind.finditer(text[: limit + 1]) if limit // 2 < len(text[: found.end()].strip())]
        ends = [end for end in ends if len(text[:end].strip()) <= limit]
        if ends:
            return ends[-1]
    return limit


def spell_digits(text: str) -> str:
    """Write digits as Hindi words, one by one: for that language, Coqui's cleaner knows no numbers.

    >>> spell_digits("कमरा 12")
    'कमरा  एक  दो '
    """
    return re.sub(r"\d", lambda digit: f" {_HINDI[int(digit[0])]} ", text)
