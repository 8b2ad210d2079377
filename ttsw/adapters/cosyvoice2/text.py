"""Text as CosyVoice 2 can take it: numbers and abbreviations as words, cut where it is long, in tokens.

Decides what is read how. The model reads no language's name: `language` says how numbers are read, no more. The
markers that it knows (`[laughter]`, `<strong>` …) pass; what else would be one of its own commands is left out.
"""

import re
from collections.abc import Callable, Iterator
from threading import Lock
from typing import Any

from num2words import num2words  # type: ignore[import-not-found,unused-ignore]

from ttsw.adapters.cosyvoice2.imports import Qwen2TokenizerFast
from ttsw.adapters.memory import raise_machine_fault
from ttsw.adapters.pytorch.weights import first_line, pack_file
from ttsw.errors import UnavailableError
from ttsw.types import VoicePack

LANGUAGES = ("en", "zh", "ja", "ko")
"""Languages that the model speaks."""

MOST_TOKENS = 80
"""Of a part: as many as the library gives the model at once."""

PROMPT_END = "<|endofprompt|>"

MARKS = [
    "<|im_start|>",
    "<|im_end|>",
    "<|endofprompt|>",
    "[breath]",
    "<strong>",
    "</strong>",
    "[noise]",
    "[laughter]",
    "[cough]",
    "[clucking]",
    "[accent]",
    "[quick_breath]",
    "<laughter>",
    "</laughter>",
    "[hissing]",
    "[sigh]",
    "[vocalized-noise]",
    "[lipsmack]",
    "[mn]",
]
"""What the library's `QwenTokenizer` adds to the text model's tokens, in its order."""

_COMMAND = re.compile(r"<\|[^|<>]{0,64}\|>")
_NUMBER = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?")
_ORDINAL = re.compile(r"\b([0-9]{1,12})(?:st|nd|rd|th)\b", re.IGNORECASE)
_MONEY = re.compile(r"\$(\d[\d,]*(?:\.\d+)?)", re.ASCII)
_PLACES = (re.compile(r"[.!?…][\"”’»)]*\s|[。！？]"), re.compile(r"[,;:—–][\"”’»)]*\s|[，、；：]"), re.compile(r"\s"))  # noqa: RUF001
_LONGEST = 15
"""Digits of a number that is read as one; of a longer one each digit is read."""

_ENDS = ".!?…。！？;；:：,，、"  # noqa: RUF001
_SHORT = {
    "Mr": "Mister",
    "Mrs": "Misses",
    "Ms": "Miz",
    "Dr": "Doctor",
    "Prof": "Professor",
    "Jr": "Junior",
    "Sr": "Senior",
    "vs": "versus",
    "etc": "et cetera",
    "approx": "approximately",
    "dept": "department",
}
_ABBREVIATION = re.compile(rf"\b({'|'.join(_SHORT)})\.", re.IGNORECASE)
_CHINESE = "零一二三四五六七八九"
_PERCENT = {"en": "{} percent", "zh": "百分之{}", "ja": "{}パーセント", "ko": "{} 퍼센트"}
_POINT = {"zh": "点", "ja": "点"}


class CosyVoiceTextReader:
    """Reads text for one model.

    Args:
        tokenizer: The text model's, with the marks above.
    """

    def __init__(self, tokenizer: Qwen2TokenizerFast) -> None:
        self._tokenizer = tokenizer
        self._lock = Lock()  # a tokenizer is not made for many threads

    def read(self, text: str, language: str) -> Iterator[list[int]]:
        """Yield the tokens of a text, part by part; none where there is nothing to say."""
        words = normalise(text, language)
        if not any(letter.isalnum() for letter in words):
            return
        yield from self._parts(words if words[-1] in _ENDS else words + ("。" if language in {"zh", "ja"} else "."))

    def read_prompt(self, text: str, language: str) -> list[int]:
        """Give the tokens of what is said in a recording."""
        return self._tokens(normalise(text, language))

    def read_instruction(self, text: str) -> list[int]:
        """Give the tokens of how to speak."""
        return self._tokens(clean(text) + PROMPT_END)

    def _parts(self, words: str) -> Iterator[list[int]]:
        tokens = self._tokens(words)
        if len(tokens) <= MOST_TOKENS or len(words) < 2:
            if any(letter.isalnum() for letter in words):
                yield tokens
            return
        cut = halve(words)
        for half in (words[:cut].strip(), words[cut:].strip()):
            yield from self._parts(half)

    def _tokens(self, words: str) -> list[int]:
        with self._lock:
            return list(self._tokenizer(words)["input_ids"])


def read_tokenizer(pack: VoicePack, words: int) -> Qwen2TokenizerFast:
    """Read the text model's tokenizer, from the folder of text_vocab.json, and add the marks.

    Args:
        pack: The pack.
        words: How many tokens the model has.

    Raises:
        UnavailableError: It is none, or another model's.
    """
    vocabulary = pack_file(pack, "text_vocab.json")
    pack_file(pack, "text_merges.txt")
    try:
        tokenizer: Any = Qwen2TokenizerFast.from_pretrained(vocabulary.parent, local_files_only=True)
        tokenizer.add_special_tokens({
            "eos_token": "<|endoftext|>",
            "pad_token": "<|endoftext|>",
            "additional_special_tokens": MARKS,
        })
    except Exception as error:  # the tokenizers' errors have no class of their own
        raise_machine_fault(error, f"{vocabulary.parent} cannot be read")
        raise UnavailableError(f"{vocabulary.parent} is no tokenizer of a text model: {first_line(error)}") from error
    if len(tokenizer) > words:
        raise UnavailableError(
            f"{vocabulary} has {len(tokenizer)} tokens, and the model knows {words}: it is another's"
        )
    return tokenizer


def clean(text: str) -> str:
    """Leave out the model's own commands, and spaces that are too many.

    >>> clean("Hello <|endofprompt|>  you")
    'Hello you'
    """
    return " ".join(_COMMAND.sub(" ", text).split())


def normalise(text: str, language: str) -> str:
    """Write numbers and abbreviations as words.

    >>> normalise("Dr. Who paid $1,200.50 on the 2nd.", "en")
    'Doctor Who paid one thousand, two hundred point five zero dollars on the second.'
    >>> normalise("我有205个", "zh")
    '我有二百零五个'
    """
    text = clean(text)
    if language == "en":
        text = _ABBREVIATION.sub(
            lambda found: _like(_SHORT.get(found[1], _SHORT.get(found[1].title(), found[1])), found[1]), text
        )
        text = _MONEY.sub(r"\1 dollars", text).replace(" & ", " and ")
        text = _ORDINAL.sub(lambda found: num2words(int(found[1]), to="ordinal"), text)
    percent = re.compile(rf"({_NUMBER.pattern})\s?%")
    text = percent.sub(lambda found: _PERCENT[language].format(found[1]), text)
    return _NUMBER.sub(lambda found: say_number(found[0], language), text)


def say_number(number: str, language: str) -> str:
    """Write a number as words.

    >>> [say_number(each, "zh") for each in ("0", "10", "10050", "3.14", "120000000")]
    ['零', '十', '一万零五十', '三点一四', '一亿二千万']
    >>> say_number("21.05", "en"), say_number("007", "en")
    ('twenty-one point zero five', 'zero zero seven')
    """
    whole, _, part = number.replace(",", "").partition(".")
    say: Callable[[int], str] = say_chinese if language == "zh" else lambda value: str(num2words(value, lang=language))
    gap = "" if language in {"zh", "ja"} else " "
    by_digit = len(whole) > _LONGEST or (len(whole) > 1 and whole[0] == "0")
    words = gap.join(say(int(digit)) for digit in whole) if by_digit else say(int(whole))
    if not part:
        return words
    point = _POINT.get(language) or {"en": "point", "ko": "점"}[language]
    return gap.join([words, point, *(say(int(digit)) for digit in part)])


def say_chinese(value: int) -> str:
    """Write a number below 10 to the 16th in Chinese.

    >>> say_chinese(1001), say_chinese(110)
    ('一千零一', '一百一十')
    """
    groups = []
    for unit in ("", "万", "亿", "兆"):
        value, rest = divmod(value, 10_000)
        groups.append((rest, unit))
    words = ""
    for rest, unit in reversed(groups):
        if not rest:
            words += "零" if words and not words.endswith("零") else ""
            continue
        if words and rest < 1000 and not words.endswith("零"):
            words += "零"
        words += _below_10000(rest) + unit
    words = words.rstrip("零") or "零"
    return words[1:] if words.startswith("一十") else words


def halve(text: str) -> int:
    """Say where to cut a text in two: after a sentence, failing that a clause, failing that a word, near its middle.

    >>> halve("One, two. Three four, five.")
    10
    """
    middle, low, high = len(text) // 2, len(text) // 6, len(text) - len(text) // 6
    for kind in _PLACES:
        if ends := [found.end() for found in kind.finditer(text) if low < found.end() < high]:
            return min(ends, key=lambda end: abs(end - middle))
    return middle


def _below_10000(value: int) -> str:
    words = ""
    for unit, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit, value = divmod(value, unit)
        if digit:
            words += _CHINESE[digit] + name
        elif words and value and not words.endswith("零"):
            words += "零"
    return words


def _like(word: str, model: str) -> str:
    return word if model[0].isupper() else word.lower()
