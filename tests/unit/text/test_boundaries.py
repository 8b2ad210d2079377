"""Where sentences end, and how long the judge waits to say so."""

from pathlib import Path

import pytest

from ttsw.text.boundaries import End, find_end
from ttsw.text.marks import LOOK_AHEAD

LINES = (Path(__file__).parent / "hard_cases.txt").read_text(encoding="utf-8").splitlines()
HARD = [line.replace("\\n", "\n") for line in LINES if line and not line.startswith("## ")]


def sentences(text):
    while text:
        end, _ = find_end(text, 0, whole=True)
        stop = end.stop if end else len(text)
        yield text[:stop]
        text = text[stop:]


@pytest.mark.parametrize("line", HARD)
def test_hard_cases(line):
    assert [part.strip() for part in sentences(line.replace("|", ""))] == [part.strip() for part in line.split("|")]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("It is.", "a closing quote, or more marks, may follow"),
        ("It is. ", "the next word decides"),
        ("It is. (", "an opening bracket isn't the next word"),
        ("At 5 p.m. Th", "The or Thursday"),
        ("At 5 p.m. A", "an initial or an article"),
        ("好。", "a closing quote may follow"),
        ("Item\n1", "an item of a list, or a number"),
        ("It is\n", "a blank line may follow"),
    ],
)
def test_what_is_not_decided_waits(text, why):
    end, scan = find_end(text, 0, whole=False)
    assert end is None
    assert scan < len(text), why
    assert find_end(text, scan, whole=True)[1] > scan


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("It is. W", None),
        ("It is. We ", End(6, 7)),
        ("It is.  \n\n x", End(6, 11)),
        ("好。好", End(2, 2)),
        ("“好。”  好", End(4, 6)),
    ],
)
def test_an_end_has_its_marks_and_its_white_space(text, end):
    assert find_end(text, 0, whole=False)[0] == end


def test_scanning_goes_on_where_it_stopped():
    end, scan = find_end("Dr. Smith i", 0, whole=False)
    assert (end, scan) == (None, 11)
    assert find_end("Dr. Smith is. H", scan, whole=False) == (None, 12)
    assert find_end("Dr. Smith is. He ", 12, whole=False) == (End(13, 14), 14)


@pytest.mark.parametrize("text", ["A. " + "x" * 100, "A. " + "((((" * 20, "5 p.m. " + "The" * 20])
def test_the_judge_looks_a_bounded_way_ahead(text):
    assert find_end(text, 0, whole=False)[1] == len(text)
    near = text[: text.index(". ") + 2 + 8 + LOOK_AHEAD + 1]
    assert find_end(near, 0, whole=False)[1] == len(near)
