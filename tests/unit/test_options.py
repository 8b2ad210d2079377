import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsw.errors import InvalidArgumentError
from ttsw.options import Option, parse_options

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


@pytest.mark.parametrize("kind", ["int", "float"])
@pytest.mark.parametrize("text", ["9" * 65, "9" * 5_000, "1e400", "²", "-" * 70])
def test_numbers_without_bounds_are_numbers_all_the_same(kind, text):
    with pytest.raises(InvalidArgumentError, match=r"a .*number"):
        Option(kind, "n").parse("n", text)


def test_ten_thousand_unknown_options_make_no_long_message():
    with pytest.raises(InvalidArgumentError) as refusal:
        parse_options({f"option {number}": "" for number in range(10_000)}, {"speed": SPEED})
    assert len(str(refusal.value)) < 300
