"""Segments: which, when, how long, how fast, whatever the chunks."""

# ruff: noqa: RUF001  # marks of many scripts are what this file is about

import itertools
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ttsw.text import FIRST_MAX_CHARS, MAX_CHARS, Segmenter, split
from ttsw.text.marks import LOOK_AHEAD

LINES = (Path(__file__).parent / "hard_cases.txt").read_text(encoding="utf-8").splitlines()
HARD = [line.replace("\\n", "\n") for line in LINES if line and not line.startswith("## ")]

MARKS = "#.!?…。！？،,;:—-\"')(»« \n\t\r1aA你と\u0301\u200d😀*"
TRICKY = st.lists(
    st.one_of(
        st.sampled_from([
            " ",
            ". ",
            "Dr. ",
            "e.g. ",
            "J. ",
            "The ",
            "word ",
            "\n\n",
            "1. ",
            "你好",
            "。",
            "」",
            "a" * 40,
        ]),
        st.text(MARKS, max_size=6),
    ),
    max_size=60,
).map("".join)
TEXTS = st.one_of(st.text(max_size=400), TRICKY)


def pieces(text, sizes):
    cuts = [
        0,
        *itertools.takewhile(lambda cut: cut < len(text), itertools.accumulate(itertools.cycle(sizes))),
        len(text),
    ]
    return [text[left:right] for left, right in itertools.pairwise(cuts)]


def stream(text, sizes, **limits):
    segmenter = Segmenter(**limits)
    return [segment for piece in pieces(text, sizes) for segment in segmenter.push(piece)] + segmenter.finish()


@pytest.mark.parametrize("line", HARD)
def test_hard_cases_at_every_split(line):
    text = line.replace("|", "")
    whole = split(text)
    for cut in range(len(text)):
        assert stream(text, [max(cut, 1), len(text)]) == whole
    assert stream(text, [5]) == stream(text, [1]) == whole


@settings(deadline=None)
@given(
    text=TEXTS,
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=5),
    max_chars=st.integers(1, 120),
    data=st.data(),
)
@example(text="A. " * 100, sizes=[1], max_chars=1, data=None)
def test_no_character_is_lost_or_repeated_and_chunks_do_not_matter(text, sizes, max_chars, data):
    first = data.draw(st.integers(1, max_chars)) if data else 1
    whole = split(text, max_chars, first)
    assert "".join(whole) == text
    assert all(whole)
    assert all(len(segment.rstrip()) <= max_chars for segment in whole)
    assert all(len(segment) <= max_chars + LOOK_AHEAD for segment in whole)
    assert stream(text, sizes, max_chars=max_chars, first_max_chars=first) == whole


@settings(deadline=None)
@given(text=TEXTS)
def test_what_was_said_stands(text):
    """Each prefix's segments are the first of the whole's: nothing handed out is ever taken back."""
    segmenter = Segmenter(40, 20)
    said = [segment for char in text for segment in segmenter.push(char)]
    assert said == split(text, 40, 20)[: len(said)]
    assert "".join(said) + segmenter.pending == text


def test_a_segment_comes_as_soon_as_it_is_complete():
    segmenter = Segmenter()
    assert segmenter.push("Hello there") == []
    assert segmenter.push(".") == []
    assert segmenter.push(" ") == []
    assert segmenter.push("How ") == ["Hello there. "]
    assert segmenter.push("are you?\n\nI") == ["How are you?\n\n"]
    assert segmenter.finish() == ["I"]


def test_chinese_waits_for_one_character_only():
    segmenter = Segmenter()
    assert segmenter.push("你好。") == []
    assert segmenter.push("再") == ["你好。"]


def test_a_segmenter_begins_anew_after_finish():
    segmenter = Segmenter(max_chars=200, first_max_chars=20)
    long = "word " * 30
    assert segmenter.push(long) + segmenter.finish() == segmenter.push(long) + segmenter.finish()
    assert segmenter.finish() == []
    assert segmenter.pending == ""


def test_a_text_without_punctuation_is_bounded_and_flows():
    segmenter = Segmenter()
    count = 0
    for word in ["word "] * 400:
        count += len(segmenter.push(word))
        assert len(segmenter.pending) <= MAX_CHARS + LOOK_AHEAD + 5
    segments = split("word " * 400)
    assert count >= len(segments) - 2
    assert all(segment.endswith("word ") and len(segment) <= MAX_CHARS + 1 for segment in segments)


def test_the_first_segment_is_short_and_limits_grow():
    text = "The quick brown fox jumps over the lazy dog, and then it runs far away, " * 12
    lengths = [len(segment) for segment in split(text)]
    assert lengths[0] == len("The quick brown fox jumps over the lazy dog, ")
    assert lengths[1] <= FIRST_MAX_CHARS
    assert max(lengths) > 2 * FIRST_MAX_CHARS
    emitted = 0
    for length in lengths:
        assert length <= max(FIRST_MAX_CHARS, 2 * emitted) + 1
        emitted += length


def test_a_short_first_sentence_stays_whole():
    assert split("Yes, of course, it does so every day. Next.") == ["Yes, of course, it does so every day. ", "Next."]


def test_no_tail_of_a_few_characters_is_cut_off():
    sentence = "word " * 50 + "word word."
    assert len(sentence) > MAX_CHARS
    segments = split(sentence, MAX_CHARS, MAX_CHARS)
    assert len(segments) == 2
    assert min(map(len, segments)) >= 20


def test_a_very_long_word_is_cut_between_what_is_one_on_paper():
    family = "👨‍👩‍👧‍👦"
    for segment in split(family * 60, 50, 20):
        assert segment == family * (len(segment) // len(family))
    for segment in split("e\u0301" * 100, 25, 25):
        assert len(segment) % 2 == 0


def test_wide_characters_count_threefold():
    segments = split("春眠不觉晓处处闻啼鸟夜来风雨声花落知多少" * 20)
    assert len(segments[0]) <= FIRST_MAX_CHARS // 3
    assert max(map(len, segments)) <= MAX_CHARS // 3


def test_limits_are_checked():
    with pytest.raises(ValueError, match="first_max_chars 300 must be from 1 to max_chars 250"):
        Segmenter(first_max_chars=300)
    with pytest.raises(ValueError, match="first_max_chars 0"):
        Segmenter(first_max_chars=0)


@pytest.mark.parametrize(
    "unit",
    [
        "Some words, and a stop. ",
        "word ",
        "a",
        ".",
        "\n",
        " ",
        "你好。",
        "Dr. ",
        '"',
        "e\u0301",
        "1. ",
        ", ",
        "(",
        "- \n",
    ],
)
@pytest.mark.parametrize("size", [1_000_000, 1])
def test_time_is_linear(unit, size):
    def seconds(length):
        text = (unit * length)[:length]
        began = time.process_time()
        stream(text, [size])
        return time.process_time() - began

    short = 3_000 if size == 1 else 15_000
    assert min(seconds(4 * short) for _ in range(3)) < 8 * min(seconds(short) for _ in range(3))  # quadratic were 16


@pytest.mark.parametrize(
    ("text", "certain", "probable"),
    [
        ("Let me check that for you.", [], ["Let me check that for you."]),
        ("Let me check that for you.\n\n", ["Let me check that for you.\n\n"], None),
        ("好的。", ["好的。"], None),
        ("「好的。", [], ["「好的。"]),
        ("「好的。」", [], ["「好的。」"]),
        ("Let me chec", [], []),
        ("It is. Ju", [], ["It is. "]),
        ("I met Dr.", [], []),
        ("1.", [], []),
        ("We left at 5 p.m.", [], ["We left at 5 p.m."]),
        ("He said (!", [], []),
        ("A line\n", [], []),
        ("", [], []),
        (" \n\n ", [], []),
    ],
)
def test_what_is_finished_is_handed_out_when_no_text_comes(text, certain, probable):
    segmenter = Segmenter()
    assert segmenter.push(text) == []
    assert segmenter.settle(certain=True) == certain
    if probable is not None:
        assert segmenter.settle(certain=False) == probable
    rest = segmenter.pending
    assert "".join(probable or certain) + rest == text
    assert segmenter.finish() == ([rest] if rest else [])


@settings(deadline=None)
@given(
    text=TEXTS,
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=5),
    settled=st.lists(st.sampled_from([None, True, False]), min_size=1),
)
def test_no_character_is_lost_or_repeated_wherever_the_text_pauses(text, sizes, settled):
    segmenter = Segmenter(40, 20)
    said = []
    for piece, certain in zip(pieces(text, sizes), itertools.cycle(settled), strict=False):
        said += segmenter.push(piece)
        if certain is not None:
            said += segmenter.settle(certain=certain)
        assert "".join(said) + segmenter.pending == text[: len("".join(said)) + len(segmenter.pending)]
    assert "".join(said + segmenter.finish()) == text
    assert all(len(segment.rstrip()) <= 40 for segment in said)
