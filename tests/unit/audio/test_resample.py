import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ttsw.audio.resample import StreamResampler, resample
from ttsw.errors import InvalidArgumentError

NOISE = np.random.default_rng(0).uniform(-1, 1, 60_000).astype(np.float32)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("length", [0, 1, 2, 3, 441, 12_345])
def test_the_length_is_exact(rate, length):
    assert len(resample(NOISE[:length], source_rate=rate)) == int(length * 48_000 / rate + 0.5)


@settings(deadline=None)
@given(
    rate=st.sampled_from([16_000, 22_050, 24_000, 44_100]),
    length=st.integers(0, 20_000),
    cuts=st.lists(st.floats(0, 1), max_size=30),
)
def test_streamed_is_one_shot(streamed, rate, length, cuts):
    whole = resample(NOISE[:length], source_rate=rate)
    cut = streamed(StreamResampler(rate), NOISE[:length], [int(place * length) for place in cuts])
    assert len(cut) == len(whole)
    assert np.allclose(cut, whole, atol=1e-6)


def test_one_sample_at_a_time(streamed):
    cut = streamed(StreamResampler(22_050), NOISE[:2000], range(2000))
    assert np.allclose(cut, resample(NOISE[:2000]), atol=1e-6)


def test_equal_rates_cost_nothing():
    stream = StreamResampler(48_000)
    assert stream.push(NOISE) is NOISE
    assert resample(NOISE, source_rate=48_000) is NOISE


def test_a_tone_stays_a_tone_and_has_no_image():
    tone = np.sin(np.arange(22_050) * (2 * np.pi * 9_000 / 22_050)).astype(np.float32)
    spectrum = np.abs(np.fft.rfft(resample(tone)[4800:-4800] * np.hanning(38_400))) / 9_600
    loud = 20 * np.log10(spectrum + 1e-12)
    peak = int(np.argmax(loud))
    assert peak == 7200  # 9 kHz in bins of 1.25 Hz
    assert abs(loud[peak]) < 0.01
    assert np.delete(loud, np.s_[peak - 3 : peak + 4]).max() < -110


def test_what_a_long_stream_holds_back_is_bounded():
    stream = StreamResampler(22_050)
    out, worst = 0, 0.0
    for start in range(0, 44_100, 441):
        out += len(stream.push(NOISE[start : start + 441]))
        worst = max(worst, (start + 441) / 22_050 - out / 48_000)
    assert worst < 0.045


def test_after_finish_a_new_signal_begins(streamed):
    stream = StreamResampler(22_050)
    first = streamed(stream, NOISE[:5000])
    assert np.array_equal(streamed(stream, NOISE[:5000]), first)


@pytest.mark.parametrize("rates", [(0, 48_000), (22_050, 0), (-1, 48_000)])
def test_a_rate_must_be_positive(rates):
    with pytest.raises(InvalidArgumentError, match="cannot resample from"):
        StreamResampler(*rates)


def test_float64_and_strided_input():
    assert np.allclose(resample(NOISE[::2].astype(np.float64)), resample(NOISE[::2].copy()))
