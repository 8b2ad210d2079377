import pytest

from ttsw.units import FRAME_BYTES, FRAME_S, FRAME_SAMPLES, SAMPLE_RATE, db_to_gain


def test_a_frame_is_20_ms_of_48_khz_s16():
    assert (SAMPLE_RATE, FRAME_SAMPLES, FRAME_BYTES, FRAME_S) == (48_000, 960, 1_920, 0.02)


def test_decibels():
    assert db_to_gain(0) == 1
    assert db_to_gain(20) == pytest.approx(10)
    assert db_to_gain(-6.0206) == pytest.approx(0.5, rel=1e-4)
