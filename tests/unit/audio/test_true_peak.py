import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ttsw.audio.true_peak import BLOCK, REACH, block_peaks, l1_norm

N = np.arange(9600)


@pytest.mark.parametrize(
    "signal",
    [
        np.sin(np.pi / 2 * N + np.pi / 4),  # no sample above -3 dBFS
        np.sin(np.pi / 3 * N + np.pi / 6),
        np.sin(2 * np.pi * 11_025 / 48_000 * N),
        np.sign(np.sin(2 * np.pi * 440 / 48_000 * N + 0.1)),
    ],
)
def test_it_reads_what_an_independent_meter_reads(true_peak_db, signal):
    peak = block_peaks(np.pad(signal, REACH).astype(np.float32), 0.0).max()
    assert 20 * np.log10(peak) == pytest.approx(true_peak_db(signal), abs=0.15)


@settings(deadline=None)
@given(seed=st.integers(0, 1000), floor=st.floats(0.05, 4.0), level=st.floats(0.01, 3.0))
def test_skipping_blocks_changes_no_result_above_the_floor(seed, floor, level):
    samples = np.random.default_rng(seed).normal(0, level, 50 * BLOCK + 2 * REACH).astype(np.float32)
    samples[: 25 * BLOCK] *= 0.05
    full, skipping = block_peaks(samples, 0.0), block_peaks(samples, floor)
    assert np.allclose(np.maximum(full, floor), np.maximum(skipping, floor), rtol=1e-5)


def test_a_block_sees_the_samples_in_its_reach_only():
    samples = np.zeros(5 * BLOCK + 2 * REACH, np.float32)
    samples[REACH + 2 * BLOCK + 12] = 1.0
    peaks = block_peaks(samples, 0.0)
    assert peaks[2] == pytest.approx(1.0, abs=1e-6)
    assert peaks[1] > 0.01
    assert peaks[3] > 0.01
    assert peaks[4] == peaks[0] == 0.0


def test_the_norm_bounds_every_value():
    assert 2.5 < l1_norm() < 3.5
