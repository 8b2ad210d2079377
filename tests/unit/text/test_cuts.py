"""Where a sentence too long is cut."""

# ruff: noqa: RUF001  # marks of many scripts are what this file is about

import pytest

from ttsw.text.cuts import best_cut


@pytest.mark.parametrize(
    ("text", "early", "piece"),
    [
        ("one two three, four five, six seven eight nine", False, "one two three, four five, "),
        ("one two three, four five, six seven eight nine", True, "one two three, four five, "),
        ("one two three four, five, six seven, eight nine", True, "one two three four, "),
        ("one two, three four five six seven eight nine ten", False, "one two, "),
        ("one two three four and five six seven eight nine", False, "one two three four "),
        ("one two three four five six seven eight nine ten", False, "one two three four five six seven "),
        ("one two three four (five six) seven eight nine ten", False, "one two three four (five six) "),
        ("one two three four—five six seven eight nine ten", False, "one two three four—"),
        ("one two three four – five six seven eight nine ten", False, "one two three four – "),
        ("at 10:30 or 1,000 or 5–7 or well-known words here", False, "at 10:30 or 1,000 or 5–7 "),
        (
            "春眠不觉晓，处处闻啼鸟，夜来风雨声，花落知多少，春眠不觉晓处处闻啼鸟",
            False,
            "春眠不觉晓，处处闻啼鸟，夜来风雨声，花落知多少，",
        ),
        ("one two three four\nfive six seven eight nine ten", False, "one two three four\n"),
        ("x" * 50, False, "x" * 36),
        ("x" * 35 + "e\u0301\u0302" + "x" * 20, False, "x" * 35),
        ("x" * 34 + "👩\u200d👩\u200d👧", False, "x" * 34),
        ("x" * 35 + "👍🏽", False, "x" * 35),
        ("x" * 35 + "🇩🇪", False, "x" * 35),
        ("e" + "\u0301" * 60, False, "e" + "\u0301" * 35),
    ],
)
def test_the_best_cut(text, early, piece):
    assert text[: best_cut(text, 6, 36, early=early)] == piece
