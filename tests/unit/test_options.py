import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsw.errors import InvalidArgumentError
from ttsw.options import MOST_OPTIONS, Option, parse_options

SPEED = Option("float", "tempo", 1.0, 0.25, 4)


@given(st.floats(0.25, 4))
def test_every_number_within_the_bounds_is_itself(value):
    assert SPEED.parse("speed", repr(value)) == value


@given(st.text())
def test_any_text_is_a_valid_value_or_a_clear_refusal(text):
    message = ""
    try:
        assert 0.25 <= SPEED.parse("speed", text) <= 4
    except InvalidArgumentError as refusal:
        message = str(refusal)
    assert not message or ("a number from 0.25 to 4" in message and len(message) < 400)


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999", "", " ", "0.2499", "1,5", "0x10", "१e९"])
def test_what_is_no_such_number_is_refused(text):
    with pytest.raises(InvalidArgumentError, match="option speed="):
        SPEED.parse("speed", text)


def test_kinds_say_what_is_valid():
    assert Option("int", "n").describe() == "a whole number"
    assert Option("int", "n", low=0, high=9).describe() == "a whole number from 0 to 9"
    assert Option("str", "s").describe() == "a text of at most 256 characters"
    assert Option("str", "s", choices=("a", "b")).describe() == "one of: a, b"
    assert Option("float", "f").describe() == "a number"


def test_a_whole_number_is_none_with_a_point():
    with pytest.raises(InvalidArgumentError, match="a whole number"):
        Option("int", "n").parse("n", "1.0")


def test_long_values_are_not_repeated_whole():
    with pytest.raises(InvalidArgumentError) as refusal:
        SPEED.parse("speed", "x" * 1_000_000)
    assert len(str(refusal.value)) < 200


def test_defaults_fill_in_and_unknown_names_are_refused_with_the_valid_ones():
    known = {"speed": SPEED, "seed": Option("int", "chance")}
    assert parse_options({}, known) == {"speed": 1.0}
    assert parse_options({"seed": "3", "speed": "2"}, known) == {"speed": 2.0, "seed": 3}
    with pytest.raises(InvalidArgumentError, match="unknown options 'a', 'b'; valid are: seed, speed"):
        parse_options({"b": "1", "a": "1"}, known)


def test_a_text_has_a_bound():
    assert Option("str", "s", longest=5).parse("s", "abcde") == "abcde"
    with pytest.raises(InvalidArgumentError, match="at most 5 characters"):
        Option("str", "s", longest=5).parse("s", "abcdef")


ODD_DIGITS = [
    "²",
    "\uff11\uff12",
    "١٢",
    "1_0",
    " 1",
    "1 ",
    "1\n",
    "1\0",
    "+-1",
    "0b1",
    "1e99999",
    "infinity",
    "NaN",
    "\u0660.\u0665",
]


@pytest.mark.parametrize("kind", ["int", "float"])
@pytest.mark.parametrize("text", ODD_DIGITS)
def test_only_the_ten_digits_write_numbers(kind, text):
    with pytest.raises(InvalidArgumentError, match=r"a .*number from -100 to 100"):
        Option(kind, "n", low=-100, high=100).parse("n", text)


@pytest.mark.parametrize(
    ("text", "value"), [("-0", 0), ("+7", 7), (".5", 0.5), ("5.", 5), ("1e1", 10), ("2.5E-1", 0.25)]
)
def test_numbers_may_be_written_in_every_common_way(text, value):
    assert Option("float", "n", low=-100, high=100).parse("n", text) == value


@pytest.mark.parametrize("choices", [(), ("en", "de")])
def test_a_language_tag_has_a_bound(choices):
    with pytest.raises(InvalidArgumentError, match="option language='en-xxx") as refusal:
        Option("language", "l", choices=choices).parse("language", "en-" + "x" * 100_000)
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize("kind", ["int", "float"])
@pytest.mark.parametrize("text", ["9" * 65, "9" * 5_000, "1e400", "²", "-" * 70])
def test_numbers_without_bounds_are_numbers_all_the_same(kind, text):
    with pytest.raises(InvalidArgumentError, match=r"a .*number"):
        Option(kind, "n").parse("n", text)


@pytest.mark.parametrize("number", [MOST_OPTIONS + 1, 30_000])
def test_more_options_than_anybody_has_a_use_for_are_refused_by_their_number(number):
    with pytest.raises(InvalidArgumentError, match=rf"^{number} options are given; at most 64 are possible$"):
        parse_options({f"option {each}": "" for each in range(number)}, {"speed": SPEED})


def test_many_unknown_options_make_no_long_message():
    with pytest.raises(InvalidArgumentError) as refusal:
        parse_options({f"option {each}" + "x" * 10_000: "" for each in range(MOST_OPTIONS)}, {"speed": SPEED})
    assert len(str(refusal.value)) < 600
