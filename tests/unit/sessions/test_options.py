import math

import pytest

from ttsw.errors import InvalidArgumentError
from ttsw.options import Option
from ttsw.sessions.options import COMMON, SessionOptions

FAMILY = {"speed": Option("float", "tempo", 1.0, 0.5, 2)}


def test_nothing_given_is_the_defaults():
    options = SessionOptions.parse({}, FAMILY, lead_ms=60)
    assert options == SessionOptions(joined=False, lead_s=0.06, loudness_lufs=None, engine={"speed": 1.0})


def test_everything_given():
    given = {"text_mode": "tokens", "pacing": "fast", "loudness_lufs": "-20", "speed": "1.5", "language": "en-GB"}
    options = SessionOptions.parse(given, FAMILY, languages=("en", "de"))
    assert options == SessionOptions(
        joined=True, lead_s=math.inf, loudness_lufs=-20.0, language="en", engine={"speed": 1.5}
    )


def test_an_unknown_option_is_refused_with_those_that_exist():
    with pytest.raises(InvalidArgumentError) as refusal:
        SessionOptions.parse({"pitch": "1"}, FAMILY)
    assert all(name in str(refusal.value) for name in ("'pitch'", "speed", *COMMON))


@pytest.mark.parametrize(
    ("name", "value", "valid"),
    [
        ("text_mode", "words", "one of: chunks, tokens"),
        ("pacing", "slow", "one of: realtime, fast"),
        ("lead_ms", "5", "a number from 20 to 60000"),
        ("lead_ms", "nan", "a number from 20"),
        ("speed", "1e999", "a number from 0.5 to 2"),
        ("loudness_lufs", "loud", "a number from -40 to -5"),
        ("language", "tlh", "one of: en, de"),
    ],
)
def test_a_bad_value_is_refused_with_what_is_valid(name, value, valid):
    with pytest.raises(InvalidArgumentError, match=f"{name}=.*{valid}"):
        SessionOptions.parse({name: value}, FAMILY, languages=("en", "de"))


REMEMBERING = {"seed": Option("int", "chance"), "session": Option("str", "whose", internal=True)}


def test_an_engine_that_remembers_is_told_the_session_and_no_client_can():
    assert SessionOptions.parse({"seed": "1"}, REMEMBERING, session="a#1").engine == {"seed": 1, "session": "a#1"}
    assert SessionOptions.parse({}, REMEMBERING).engine == {}
    assert SessionOptions.parse({}, FAMILY, session="a#1").engine == {"speed": 1.0}
    with pytest.raises(InvalidArgumentError, match=r"unknown option 'session'; valid are: (?!.*session)"):
        SessionOptions.parse({"session": "a#1"}, REMEMBERING, session="b#1")


def test_what_an_option_costs_is_for_the_pack_to_say():
    family = {"work_mb": Option("float", "memory", 0.0, 0, 1e6, pack=True), "speed": Option("float", "tempo", 1.0)}
    assert SessionOptions.parse({}, family, defaults={"work_mb": "5", "speed": "2"}).engine == {
        "work_mb": 5,
        "speed": 2,
    }
    with pytest.raises(InvalidArgumentError, match="option work_mb belongs to the voice pack; a session can't set it"):
        SessionOptions.parse({"work_mb": "700"}, family, defaults={"work_mb": "5"})
    with pytest.raises(InvalidArgumentError) as refusal:
        SessionOptions.parse({"pitch": "1"}, family)
    assert "work_mb" not in str(refusal.value), "it isn't among those that are valid"


def test_too_many_options_are_refused_before_any_is_looked_at():
    with pytest.raises(InvalidArgumentError, match="30000 options are given; at most 64"):
        SessionOptions.parse({f"option {each}": "" for each in range(30_000)}, FAMILY)


def test_every_common_option_is_bounded():
    for name, option in COMMON.items():
        if option.kind == "float":
            assert math.isfinite(option.low + option.high), name
        elif option.kind == "str":
            assert option.choices, name
