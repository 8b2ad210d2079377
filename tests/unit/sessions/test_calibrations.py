import json

from ttsw.audio import Calibration
from ttsw.sessions.calibrations import from_note, to_note

CALIBRATION = Calibration(-25.5, 8.1, (-24.0, -21.0, -18.1, -15.6, -13.0, -11.5))


def test_it_survives_being_written():
    note = json.loads(json.dumps(to_note(CALIBRATION, {"speed": "1"})))
    assert from_note(note, {"speed": "1"}) == CALIBRATION


def test_one_for_other_options_is_none():
    assert from_note(to_note(CALIBRATION, {"speed": "1"}), {"speed": "2"}) is None


def test_what_is_no_calibration_is_none():
    assert from_note(None, {}) is None
    assert from_note("loud", {}) is None
    assert from_note({**to_note(CALIBRATION, {}), "lufs": "loud"}, {}) is None
