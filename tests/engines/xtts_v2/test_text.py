"""Text is cut where it must be, read as the library reads it, and bounded."""

import pytest

from ttsw.adapters.pytorch.splitting import split
from ttsw.adapters.xtts import text as module
from ttsw.adapters.xtts.text import XttsTextReader
from ttsw.errors import InvalidArgumentError, UnavailableError


@pytest.fixture
def reader(adapter):
    return adapter._reader


def read(reader, text, language="en"):
    return list(reader.read(text, language))


@pytest.mark.parametrize("text", ["One.", " Hello, World! 12 of them cost $3.50. ", "Dr. Smith's", "a" * 250])
def test_tokens_are_the_librarys(reader, adapter, text):
    (part,) = read(reader, text)
    assert part.tokens == adapter._reader._tokenizer.encode(text.strip().lower(), lang="en")


def test_the_language_is_the_first_token(reader):
    tokens = {language: read(reader, "hello", language)[0].tokens[0] for language in ("en", "de", "fr")}
    assert len(set(tokens.values())) == 3


@pytest.mark.parametrize("text", ["", "  ", "...", "?!", "—", "😀", "( )", '"', "\u4e2d\u6587", "\u0645"])
def test_what_cannot_be_spoken_is_nothing(reader, text):
    assert read(reader, text) == []


@pytest.mark.parametrize(("language", "limit"), [("en", 250), ("de", 253), ("ko", 95), ("xx", 250)])
def test_parts_keep_the_librarys_limits(reader, monkeypatch, language, limit):
    spelled = []
    monkeypatch.setattr(reader._tokenizer, "preprocess_text", lambda text, _: spelled.append(text) or text)
    text = "The quick brown fox. " * 60
    read(reader, text, language)
    assert max(map(len, spelled)) <= limit
    assert " ".join(spelled) == text.strip().lower()


def test_a_part_of_too_many_tokens_is_halved(adapter):
    reader = XttsTextReader(adapter._reader._tokenizer, 40)
    parts = read(reader, "one two three, four five six. seven eight nine ten eleven. " * 3)
    assert len(parts) > 2
    assert all(len(part.tokens) < 40 for part in parts)
    assert len(read(XttsTextReader(adapter._reader._tokenizer, 12), "a" * 100)) > 8, "a word may be cut if it must"


@pytest.mark.parametrize(
    ("text", "most", "parts"),
    [
        ("One. Two.", 9, ["One. Two."]),
        ("One, two. Three four.", 12, ["One, two.", "Three four."]),
        ("One two, three four", 12, ["One two,", "three four"]),
        ("one two three", 8, ["one two", "three"]),
        ("one two three", 7, ["one two", "three"]),
        ("abcdefgh", 3, ["abc", "def", "gh"]),
        ("It costs 3.50 dollars.", 12, ["It costs", "3.50", "dollars."]),
        (
            "\u4f60\u597d\u3002\u6211\u5f88\u597d\uff0c\u8c22\u8c22",
            5,
            ["\u4f60\u597d\u3002", "\u6211\u5f88\u597d\uff0c", "\u8c22\u8c22"],
        ),
        ('He said "stop!" Then he left.', 16, ['He said "stop!"', "Then he left."]),
        ("  ", 5, []),
    ],
)
def test_where_text_is_cut(text, most, parts):
    assert list(split(text, most)) == parts


def test_nothing_is_lost_at_any_limit():
    text = "Some words, and others; a sentence. Another one! " * 4
    for most in range(1, 90):
        parts = list(split(text, most))
        assert all(0 < len(part) <= most for part in parts)
        assert "".join("".join(parts).split()) == "".join(text.split())


def test_the_bound_follows_what_is_read(reader):
    (part,) = read(reader, "hello")
    assert part.most_s == pytest.approx(3 + 0.2 * 5)
    (number,) = read(reader, "12345")
    assert number.most_s == pytest.approx(3 + 0.2 * len("twelve thousand, three hundred and forty-five"))


def test_a_number_that_is_too_long_is_read_digit_by_digit(reader):
    (part, *_) = read(reader, "7" * 240)
    assert part.most_s > 3 + 0.2 * len("seven" * 10)


def test_text_that_the_library_trips_over_is_refused(reader, monkeypatch):
    def trip(*_):
        raise KeyError("no such rule")

    monkeypatch.setattr(reader._tokenizer, "preprocess_text", trip)
    with pytest.raises(InvalidArgumentError, match="the text can't be read as 'en': 'no such rule'"):
        read(reader, "hello")


def test_a_language_whose_library_is_missing_is_told(reader, monkeypatch):
    def trip(*_):
        raise ImportError("Chinese requires: pypinyin")

    monkeypatch.setattr(reader._tokenizer, "preprocess_text", trip)
    for attempt in (lambda: reader.check("zh-cn"), lambda: read(reader, "hello", "zh-cn")):
        with pytest.raises(UnavailableError, match="language 'zh-cn' can't be read here: Chinese requires: pypinyin"):
            attempt()


def test_the_bound_has_a_reason():
    assert (module.LEAST_S, module.PER_LETTER_S) == (3.0, 0.2)


def test_hindi_numbers_which_the_library_does_not_know_are_read_digit_by_digit(reader, monkeypatch):
    spelled = []
    monkeypatch.setattr(reader, "_tokens", lambda words, language: spelled.append(words) or [1, 2, 3])
    monkeypatch.setattr(reader, "_mute", frozenset())
    assert read(reader, "कमरा 12", "hi")
    assert spelled[0].split() == ["कमरा", "एक", "दो"]
