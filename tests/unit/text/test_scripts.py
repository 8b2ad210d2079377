"""Scripts of texts, and what is left where a voice can't read some."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsw.text.scripts import script_of, scripts_of, unreadable, without_unreadable

LATIN = {"Latin"}


@pytest.mark.parametrize(
    ("text", "unread", "left"),
    [
        ("Hello.", {}, "Hello."),
        ("Café, naïve, Łódź", {}, "Café, naïve, Łódź"),
        ("你好", {"Han": 2}, ""),
        ("Say 你好 twice.", {"Han": 2}, "Say twice."),
        ("Привет world", {"Cyrillic": 6}, "world"),
        ("नमस्ते ji", {"Devanagari": 4}, "ji"),
        ("π and Δt", {}, "π and Δt"),
        ("Καλημέρα", {"Greek": 8}, ""),
        ("5 % of 3 €", {}, "5 % of 3 €"),
        ("ひらがなとカタカナ", {"Hiragana": 5, "Katakana": 4}, ""),
        ("😀 ok", {}, "😀 ok"),
        ("", {}, ""),
    ],
)
def test_what_an_english_voice_can_not_read(text, unread, left):
    assert unreadable(text, LATIN) == unread
    if unread:
        assert without_unreadable(text, LATIN) == left


@pytest.mark.parametrize(
    ("languages", "scripts"),
    [
        (("en-us",), {"Latin"}),
        (("ru",), {"Latin", "Cyrillic"}),
        (("zh_CN", "en"), {"Latin", "Han", "Bopomofo"}),
        (("ja",), {"Latin", "Han", "Hiragana", "Katakana"}),
        (("tlh",), {"Latin"}),
    ],
)
def test_what_speakers_of_a_language_read(languages, scripts):
    assert scripts_of(languages) == scripts


@given(st.text(), st.sets(st.sampled_from(["Latin", "Han", "Greek", "Arabic", "Cyrillic", "Hangul"])))
def test_what_is_left_can_be_read(text, readable):
    left = without_unreadable(text, readable | LATIN)
    counted = unreadable(text, readable | LATIN)
    foreign = {script_of(char) for char in left} - {"", "Greek"} - readable - LATIN
    assert not foreign
    assert set(counted) <= {script_of(char) for char in text} - {""}
    letters = [char for char in text if unicodedata.category(char)[0] == "L"]
    assert sum(counted.values()) <= len(letters)
