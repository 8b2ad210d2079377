import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import sosfilt

from ttsw.audio.adaptive import AdaptiveGain, KWeighting, k_weighting
from ttsw.audio.loudness import measure_lufs

RATE = 22_050


class Pushed(AdaptiveGain):
    push = AdaptiveGain.apply

    def finish(self):
        return np.empty(0, np.float32)


def babble(seconds, level=0.1, seed=0):
    """Noise with syllables and pauses in it."""
    time = np.arange(int(seconds * RATE)) / RATE
    syllables = np.clip(np.sin(2 * np.pi * 2.5 * time) + 0.3, 0, 1) * (np.sin(2 * np.pi * 0.25 * time) > -0.7)
    return (np.random.default_rng(seed).standard_normal(len(time)) * syllables * level).astype(np.float32)


def test_the_weighting_is_the_standards():
    shelf = [1.53512485958697, -2.69169618940638, 1.19839281085285, 1.0, -1.69065929318241, 0.73248077421585]
    high_pass = [1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621]
    assert np.allclose(k_weighting(48_000), [shelf, high_pass], atol=1e-8)  # BS.1770-4 annex 1, tables 1 and 2


def test_the_weighting_keeps_its_state():
    samples, stream = babble(0.5), KWeighting(RATE)
    parts = [stream.apply(part) for part in np.split(samples, [1, 1, 300, 5000])]
    assert np.allclose(np.concatenate(parts), sosfilt(k_weighting(RATE), samples.astype(np.float64)))


@settings(deadline=None, max_examples=30)
@given(length=st.integers(0, 40_000), cuts=st.lists(st.floats(0, 1), max_size=20))
def test_streamed_is_one_shot(streamed, length, cuts):
    samples = babble(2.0)[:length]
    whole = streamed(Pushed(RATE), samples)
    cut = streamed(Pushed(RATE), samples, [int(place * length) for place in cuts])
    assert len(whole) == length
    assert np.allclose(whole, cut, atol=1e-6)


@pytest.mark.parametrize("level_db", [-12, 0, 12])
def test_it_finds_its_level(level_db):
    speech = babble(20.0, 0.1 * 10 ** (level_db / 20))
    gain = AdaptiveGain(RATE, -16.0)
    levelled = gain.apply(speech)
    assert gain.gain_db == pytest.approx(-16.0 - measure_lufs(speech, RATE), abs=1.0)
    assert measure_lufs(levelled[-5 * RATE :], RATE) == pytest.approx(-16.0, abs=1.0)


@pytest.mark.slow
def test_a_real_voice_is_close_within_three_seconds(joe):
    speech = np.concatenate(joe)
    gain, ideal = AdaptiveGain(RATE, -16.0), -16.0 - measure_lufs(speech, RATE)
    gain.apply(speech[: 3 * RATE])
    assert gain.gain_db == pytest.approx(ideal, abs=2.0)
    gain.apply(speech[3 * RATE :])
    assert gain.gain_db == pytest.approx(ideal, abs=0.5)


def test_there_is_no_step():
    levelled = AdaptiveGain(RATE).apply(np.full(10 * RATE, 0.9, np.float32) * np.float32(-1) ** np.arange(10 * RATE))
    gain_db = 20 * np.log10(np.abs(levelled) / 0.9)
    assert np.abs(np.diff(gain_db)).max() < 3.0 / RATE * 1.1  # 3 dB/s
    assert abs(gain_db[-1] - gain_db[0]) > 5.0


def test_silence_changes_nothing():
    gain = AdaptiveGain(RATE)
    gain.apply(babble(3.0))
    before = gain.gain_db
    gain.apply(np.zeros(RATE // 2, np.float32))  # the last blocks still hold speech
    settled = gain.gain_db
    assert settled == pytest.approx(before, abs=1.0)
    assert not gain.apply(np.zeros(60 * RATE, np.float32)).any()
    assert gain.gain_db == settled


def test_it_starts_from_its_prior():
    assert AdaptiveGain(RATE, -16.0).gain_db == pytest.approx(7.0)
    assert AdaptiveGain(RATE, -16.0, prior_lufs=-30.0).gain_db == pytest.approx(14.0)


def test_it_gives_a_calibration_once_it_has_heard_enough():
    gain, speech = AdaptiveGain(RATE), babble(10.0)
    gain.apply(speech[: 2 * RATE])
    assert gain.calibration is None
    gain.apply(speech[2 * RATE :])
    assert gain.calibration.lufs == pytest.approx(measure_lufs(speech, RATE), abs=0.1)


def test_there_is_an_end_to_the_gain():
    gain = AdaptiveGain(RATE)
    gain.apply(babble(20.0, 0.0005))
    assert gain.gain_db <= 24.0


def test_an_empty_chunk():
    assert AdaptiveGain(RATE).apply(np.empty(0, np.float32)).shape == (0,)
