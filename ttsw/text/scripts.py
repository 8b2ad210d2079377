"""Scripts of a text, and the scripts that a voice can read, by its languages.

Only letters have a script here: digits, marks and symbols are read by any voice, or by none. A single Greek letter
counts as a symbol (π). Scripts are derived from Unicode character names, since Python's library has no table of them.
"""

import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache

from ttsw.languages import primary

_FIRST_WORDS = {
    **{name: name.title() for name in (
        "LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "HEBREW", "ARABIC", "DEVANAGARI", "BENGALI", "GURMUKHI", "GUJARATI",
        "ORIYA", "TAMIL", "TELUGU", "KANNADA", "MALAYALAM", "SINHALA", "THAI", "LAO", "TIBETAN", "MYANMAR", "GEORGIAN",
        "HANGUL", "ETHIOPIC", "KHMER", "MONGOLIAN", "BOPOMOFO", "HIRAGANA", "KATAKANA",
    )},
    "CJK": "Han",
    "IDEOGRAPHIC": "Han",
    "FULLWIDTH": "Latin",
    "HALFWIDTH": "Katakana",
    "KATAKANA-HIRAGANA": "Katakana",
}  # fmt: skip
_OF_LANGUAGES = {
    "Cyrillic": "ru uk be bg sr mk kk ky tg mn tt ba cv",
    "Greek": "el",
    "Armenian": "hy",
    "Hebrew": "he yi iw",
    "Arabic": "ar fa ur ps ckb ug sd",
    "Devanagari": "hi mr ne sa kok bho",
    "Bengali": "bn as",
    "Gurmukhi": "pa",
    "Gujarati": "gu",
    "Oriya": "or",
    "Tamil": "ta",
    "Telugu": "te",
    "Kannada": "kn",
    "Malayalam": "ml",
    "Sinhala": "si",
    "Thai": "th",
    "Lao": "lo",
    "Tibetan": "bo dz",
    "Myanmar": "my",
    "Georgian": "ka",
    "Hangul": "ko",
    "Ethiopic": "am ti",
    "Khmer": "km",
    "Mongolian": "mn",
    "Han": "zh cmn yue wuu hak nan ja ko",
    "Bopomofo": "zh cmn yue",
    "Hiragana": "ja",
    "Katakana": "ja",
}


@lru_cache(maxsize=4_096)
def script_of(char: str) -> str:
    """Return a letter's script; empty for a character without a distinguished one.

    >>> script_of("a"), script_of("你"), script_of("7")
    ('Latin', 'Han', '')
    """
    if char.isascii():
        return "Latin" if char.isalpha() else ""
    if unicodedata.category(char)[0] != "L":
        return ""
    return _FIRST_WORDS.get(unicodedata.name(char, "").partition(" ")[0], "")


@cache
def scripts_of(languages: tuple[str, ...]) -> frozenset[str]:
    """Return the scripts that speakers of these languages read. All read Latin letters.

    >>> sorted(scripts_of(("ja-JP",)))
    ['Han', 'Hiragana', 'Katakana', 'Latin']
    """
    spoken = {primary(language) for language in languages}
    found = (script for script, tags in _OF_LANGUAGES.items() if not spoken.isdisjoint(tags.split()))
    return frozenset({"Latin", *found})


def unreadable(text: str, readable: Iterable[str]) -> dict[str, int]:
    """Count the letters in other scripts, by script.

    >>> unreadable("Hello, 你好 and π", {"Latin"})
    {'Han': 2}
    """
    counts: dict[str, int] = {}
    known = {"", *readable}
    for at, char in enumerate(text):
        if not char.isascii() and (script := script_of(char)) not in known and not _is_symbol(text, at, script):
            counts[script] = counts.get(script, 0) + 1
    return counts


def without_unreadable(text: str, readable: Iterable[str]) -> str:
    """Remove the letters that `unreadable` counts, with their combining marks.

    >>> without_unreadable("Hello, 你好 and π.", {"Latin"})
    'Hello, and π.'
    """
    known = {"", *readable}
    kept, after = [], False
    for at, char in enumerate(text):
        script = script_of(char)
        if script not in known and not _is_symbol(text, at, script):
            kept.append(" ")
            after = True
        elif not (after and unicodedata.category(char)[0] == "M"):
            kept.append(char)
            after = False
    return " ".join("".join(kept).split())


def _is_symbol(text: str, at: int, script: str) -> bool:
    return script == "Greek" and script not in {
        script_of(text[at - 1]) if at else "",
        script_of(text[at + 1 : at + 2] or " "),
    }
