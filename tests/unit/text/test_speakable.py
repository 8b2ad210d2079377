"""What an engine sees, and whether it is asked."""

# ruff: noqa: RUF001  # characters of many scripts are what this file is about

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsw.text import clean, has_speech


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain text", "plain text"),
        ("  a\r\n\tb  ", "a b"),
        ("a\x00b\x1b[0m\x7f\x85c", "ab[0m c"),
        ("\ufeffHi\u200b there\u2060\u00ad", "Hi there"),
        ("\u202eevil\u202c \u2066x\u2069", "evil x"),
        ("lone \ud83d half", "lone half"),
        ("private \ue000 \U0010ffff", "private"),
        ("Hi 👋🏽 there ❤️ 👨‍👩‍👧", "Hi there"),
        ("flag 🇩🇪 keycap 5\ufe0f\u20e3", "flag keycap 5\u20e3"),
        ("می‌خواهم", "می‌خواهم"),
        ("क्‍ष", "क्‍ष"),
        ("a\u200cb", "ab"),
        ("cafe\u0301", "café"),
        ("\u3164\u115f\u2800", ""),
        ("no\u00a0break\u3000wide", "no break wide"),
        ("50 € & 20 °C", "50 € & 20 °C"),
        ("", ""),
        ("It is **bold** and _so_ `is` this.", "It is bold and so is this."),
        ("(*aside*), ~~gone~~!", "(aside), gone!"),
        ("* item", "item"),
        ("### Title\n", "Title"),
        ("> - * deep", "deep"),
        ("2 * 3, snake_case, a*b, C#, -5", "2 * 3, snake_case, a*b, C#, -5"),
    ],
)
def test_clean(text, seen):
    assert clean(text) == seen


@given(text=st.text(st.characters(codec=None)))
def test_a_clean_text_is_clean(text):
    seen = clean(text)
    seen.encode()
    assert clean(seen) == seen == seen.strip()
    assert not any(unicodedata.category(char) in {"Cc", "Cs", "Co", "Cn"} for char in seen)
    assert has_speech(seen) == has_speech(text)


@pytest.mark.parametrize("text", ["a", "5", "é", "你", "ا", "€", "50 %", "&", "½", "१", "...a", "\u202ea", "e\u0301"])
def test_speech(text):
    assert has_speech(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n\n",
        "...",
        "…",
        "?!",
        "- ",
        "***",
        "😀",
        "👍🏽",
        "❤️",
        "\x00\x1b",
        "\u200b",
        "\ufeff",
        "\u3164",
        "\ud800",
        "\u0301",
        "—",
        "「」",
        "。",
        "|",
        "🇩🇪",
        "\ue000",
    ],
)
def test_no_speech(text):
    assert not has_speech(text)
