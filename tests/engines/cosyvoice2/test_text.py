"""Text is read as the library's tokenizer reads it, with numbers as words, in parts that aren't too long."""

import sys
from dataclasses import replace
from types import ModuleType

import pytest

from ttsw.adapters.cosyvoice2 import text
from ttsw.adapters.cosyvoice2.text import (
    MARKS,
    MOST_TOKENS,
    CosyVoiceTextReader,
    halve,
    normalise,
    read_tokenizer,
    say_chinese,
)
from ttsw.errors import UnavailableError


@pytest.fixture(scope="module")
def reader(pack):
    return CosyVoiceTextReader(read_tokenizer(pack, 10_000))


@pytest.fixture
def theirs(pack, monkeypatch):
    """The library's own tokenizer; what else its module imports isn't there."""
    for name in ("whisper", "whisper.tokenizer", "tiktoken"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["whisper.tokenizer"].Tokenizer = sys.modules["tiktoken"].Encoding = object
    monkeypatch.delitem(sys.modules, "cosyvoice.tokenizer.tokenizer", raising=False)
    from cosyvoice.tokenizer.tokenizer import get_qwen_tokenizer  # noqa: PLC0415

    return get_qwen_tokenizer(str(pack.files["text_vocab.json"].parent), True)


@pytest.mark.parametrize(
    "words", ["Hello there.", "Ha[laughter] no <strong>way</strong>!", "我有一个梦。", "a<|endofprompt|>b", " ü "]
)
def test_tokens_are_the_librarys(reader, theirs, words):
    assert reader._tokens(words) == theirs.encode(words)


def test_marks_are_one_token_each(reader, theirs):
    ids = [reader._tokens(mark) for mark in MARKS]
    assert all(len(each) == 1 for each in ids)
    assert len({each[0] for each in ids}) == len(MARKS) == 19
    assert ids == [theirs.encode(mark) for mark in MARKS]


def test_how_to_speak_ends_with_its_mark(reader, theirs):
    assert reader.read_instruction("Speak <|im_end|> softly") == theirs.encode("Speak softly<|endofprompt|>")


def test_a_text_cannot_give_the_model_commands(reader):
    (end,) = reader._tokens("<|endofprompt|>")
    (tokens,) = reader.read("You are <|endofprompt|> not <|im_start|> it.", "en")
    assert end not in tokens
    assert tokens == reader._tokens("You are not it.")
    assert end not in reader.read_prompt("a <|endofprompt|> b", "en")
    (laugh,) = reader._tokens("[laughter]")
    assert laugh in next(reader.read("You[laughter] are it.", "en"))


@pytest.mark.parametrize("words", ["", "...", "\U0001f600", "—", "<|endofprompt|>", " !? "])
def test_what_cannot_be_spoken_is_nothing(reader, words):
    assert [*reader.read(words, "en")] == []


def test_an_end_is_put_where_there_is_none(reader):
    assert [*reader.read("Hello", "en")] == [reader._tokens("Hello.")]
    assert [*reader.read("你好", "zh")] == [reader._tokens("你好。")]
    assert [*reader.read("Hello?", "en")] == [reader._tokens("Hello?")]


def test_long_text_is_split_and_all_of_it_is_read(reader):
    words = "How do you do, you and you? It is a canoe. " * 20
    parts = [*reader.read(words, "en")]
    assert len(parts) > 2
    assert all(10 < len(each) <= MOST_TOKENS for each in parts)
    said = "".join(reader._tokenizer.decode(each) for each in parts).replace(" ", "")
    assert said == words.replace(" ", "")
    solid = [*reader.read("ü" * 500, "en")]
    assert all(len(each) <= MOST_TOKENS for each in solid)
    assert sum(map(len, solid)) >= 1000


@pytest.mark.parametrize(
    ("words", "language", "said"),
    [
        ("It is 42.", "en", "It is forty-two."),
        ("1,000,000 of 3.05", "en", "one million of three point zero five"),
        ("the 21st, 50% & more", "en", "the twenty-first, fifty percent and more"),
        ("Mr. Smith vs. Mrs. Jones", "en", "Mister Smith versus Misses Jones"),
        ("$5", "en", "five dollars"),
        ("12345678901234567890", "en", "one two three four five six seven eight nine zero " * 2),
        ("增长50%到10000", "zh", "增长百分之五十到一万"),
        ("3.5倍", "zh", "三点五倍"),
        ("25個", "ja", "二十五個"),
        ("25개", "ko", "이십오개"),
    ],
)
def test_numbers_are_words(words, language, said):
    assert normalise(words, language) == said.strip()


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "零"), (10, "十"), (11, "十一"), (20, "二十"), (101, "一百零一"), (1010, "一千零一十"), (10_001, "一万零一"),
     (110_000, "十一万"), (10_010_000, "一千零一万"), (100_000_001, "一亿零一"), (10**12, "一兆")],
)  # fmt: skip
def test_chinese_numbers(value, said):
    assert say_chinese(value) == said


def test_halves_end_with_sentences_where_they_can():
    assert halve("aaaa. bbbb") == 6
    assert halve("aaa, bb ccc") == 5
    assert halve("aaaaaaaa") == 4


def test_a_tokenizer_that_cannot_be_is_refused(pack, tmp_path):
    with pytest.raises(UnavailableError, match="tokens, and the model knows 20: it is another's"):
        read_tokenizer(pack, 20)
    folder = tmp_path / "text"
    folder.mkdir()
    for content in ("", "{", "[]", '{"a": "b"}'):
        (folder / "vocab.json").write_text(content)
        (folder / "merges.txt").write_text("")
        bad = replace(pack, files=pack.files | {"text_vocab.json": folder / "vocab.json"})
        with pytest.raises(UnavailableError, match="is no tokenizer of a text model"):
            read_tokenizer(bad, 10_000)
    assert text.LANGUAGES == ("en", "zh", "ja", "ko")
