import numpy as np
import pytest

from ttsw.audio.gain import FixedGain


def test_gain_in_decibels():
    assert FixedGain(20.0).apply(np.array([0.1], np.float32))[0] == pytest.approx(1.0)


def test_float32_stays_float32():
    assert FixedGain(3.0).apply(np.zeros(4, np.float32)).dtype == np.float32


def test_no_gain_costs_nothing():
    chunk = np.ones(4, np.float32)
    assert FixedGain().apply(chunk) is chunk


def test_between_two_levels():
    assert FixedGain.between(-25.0, -16.0).gain_db == 9.0
