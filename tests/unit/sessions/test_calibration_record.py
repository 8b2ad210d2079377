import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ttsw.audio import Calibration
from ttsw.audio.loudness import TRIAL_LUFS
from ttsw.sessions.calibration_record import from_note, to_note

CALIBRATION = Calibration(-25.5, 8.1, (-24.0, -21.0, -18.1, -15.6, -13.0, -11.5))


def test_it_survives_being_written():
    note = json.loads(json.dumps(to_note(CALIBRATION, {"speed": "1"})))
    assert from_note(note, {"speed": "1"}) == CALIBRATION


def test_one_that_nobody_has_tried_behind_the_limiter_is_one():
    bare = Calibration(-25.5, 8.1)
    assert from_note(json.loads(json.dumps(to_note(bare, {}))), {}) == bare


def test_one_for_other_options_is_none():
    assert from_note(to_note(CALIBRATION, {"speed": "1"}), {"speed": "2"}) is None


def test_what_is_no_note_is_none():
    assert from_note(None, {}) is None
    assert from_note("loud", {}) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lufs": "loud"}, "it is no calibration"),
        ({"lufs": 164.0}, "164 LUFS is none that speech has"),
        ({"lufs": -180.0}, "-180 LUFS is none"),
        ({"lufs": math.nan}, "nan LUFS is none"),
        ({"speech_s": 0.0}, "it is based on 0 s of speech"),
        ({"speech_s": math.inf}, "it is based on inf s"),
        ({"limited_lufs": [-24.0, -21.0]}, "it has 2 levels behind the limiter rather than 6"),
        ({"limited_lufs": [*TRIAL_LUFS, -6.0]}, "it has 7 levels"),
        ({"limited_lufs": [-24.0, -21.0, -18.0, math.nan, -12.0, -9.0]}, "none that a limiter leaves"),
        ({"limited_lufs": [-24.0, -21.0, -18.0, -15.0, -12.0, 3.0]}, "none that a limiter leaves"),
        ({"limited_lufs": [-24.0, -30.0, -18.0, -15.0, -12.0, -9.0]}, "fall where they should rise"),
    ],
)
def test_what_cannot_have_been_measured_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        from_note({**to_note(CALIBRATION, {}), **change}, {})


NUMBERS = st.floats() | st.floats(-80, 20) | st.integers() | st.none() | st.text(max_size=5)


@settings(max_examples=300, deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "lufs": NUMBERS | st.floats(-70, 20),
            "speech_s": NUMBERS | st.floats(3, 100),
            "limited_lufs": st.lists(NUMBERS, max_size=8) | st.lists(st.floats(-70, -9), min_size=6, max_size=6),
        },
    )
)
def test_whatever_a_note_says_it_is_refused_or_gives_a_gain_that_speech_survives(change):
    note = json.loads(json.dumps({**to_note(CALIBRATION, {}), **change}))
    try:
        calibration = from_note(note, {})
    except ValueError:
        return
    for target in (-40.0, -23.0, -16.0, -9.0):
        heard = calibration.gain(target).apply(np.full(10, 0.1, np.float32))
        assert np.isfinite(heard).all()
        assert abs(20 * math.log10(heard[0] / 0.1)) <= 100
