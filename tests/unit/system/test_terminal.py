"""What a terminal may be shown, over all of Unicode."""

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsw.system.terminal import is_safe, make_safe, safe_json

# Default_Ignorable_Code_Point, Unicode 15.1 and since: these show nothing.
IGNORABLE = [
    *(0x00AD, 0x034F, 0x061C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFEFF, 0xFFA0),
    *(*range(0x180B, 0x1810), *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070)),
    *(*range(0xFE00, 0xFE10), *range(0xFFF0, 0xFFF9), *range(0x1BCA0, 0x1BCA4), *range(0x1D173, 0x1D17B)),
    *range(0xE0000, 0xE1000),
]
# What directs the text beside it.
DIRECTING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI", "B", "S", "BN"}
ACTING = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)


def test_each_character_is_safe_or_acts_directs_or_hides():
    hidden = set(map(chr, IGNORABLE))
    for letter in map(chr, range(sys.maxunicode + 1)):
        unsafe = letter in hidden or unicodedata.category(letter) in ACTING
        assert is_safe(letter) is not unsafe, ascii(letter)
        assert unsafe or unicodedata.bidirectional(letter) not in DIRECTING, ascii(letter)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("piper-ä 你好 ½ 👍", "piper-ä 你好 ½ 👍"),
        ("10\xa0000 €\u3000", "10\xa0000 €\u3000"),
        ("\x1b[2J\r\n\t\x7f", r"\x1b[2J\r\n\t\x7f"),
        ("\x9b2J", r"\x9b2J"),
        ("al\u202eot", r"al\u202eot"),
        ("al\u200bto\ufeff", r"al\u200bto\ufeff"),
        ("a\u2028b\u2029", r"a\u2028b\u2029"),
        ("a\u2066b\u2069", r"a\u2066b\u2069"),
        ("\ud800", r"\ud800"),
        ("al\u034fto\u3164", r"al\u034fto\u3164"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_is_not_safe_is_spelled(text, shown):
    assert make_safe(text) == shown


@given(st.text(st.characters()), st.sampled_from(["", "\n", "\n\t"]))
def test_any_text_becomes_safe_and_loses_nothing_that_is(text, keep):
    shown = make_safe(text, keep)
    assert is_safe(shown, keep)
    assert make_safe(shown, keep) == shown
    assert (shown == text) == is_safe(text, keep)
    shown.encode()


@given(anything, st.booleans(), st.sampled_from([None, 2]))
def test_json_says_the_same_and_is_safe(value, ascii_only, indent):
    text = safe_json(value, ascii_only=ascii_only, indent=indent)
    assert json.loads(text) == value
    assert is_safe(text, "\n")
    assert text.isascii() or not ascii_only
