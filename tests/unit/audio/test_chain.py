import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ttsw.audio.adaptive import AdaptiveGain
from ttsw.audio.chain import Chain
from ttsw.audio.gain import FixedGain
from ttsw.errors import InternalError, InvalidArgumentError

NOISE = np.random.default_rng(0).uniform(-0.6, 0.6, 60_000).astype(np.float32)


def samples_of(data):
    return np.frombuffer(data, "<i2") / 32_768


def clicks_db(samples, places):
    """Find clicks: the sharpest bend within 0.25 ms of each place, dB over the sharpest within 20 ms around."""
    bend = np.abs(np.diff(np.pad(samples, 1), 2))
    near = [bend[max(0, place - 12) : place + 12].max() for place in places]
    around = [np.r_[bend[max(0, place - 960) : max(0, place - 12)], bend[place + 12 : place + 960]] for place in places]
    return [20 * np.log10((click + 1e-9) / (own.max() + 1e-9)) for click, own in zip(near, around, strict=True)]


@settings(deadline=None, max_examples=50)
@given(
    rate=st.sampled_from([22_050, 24_000, 48_000]),
    length=st.integers(0, 20_000),
    cuts=st.lists(st.floats(0, 1), max_size=20),
    gain=st.sampled_from([0.0, 12.0, "adaptive"]),
)
def test_streamed_is_one_shot_and_the_length_is_exact(streamed, rate, length, cuts, gain):
    def chain():
        return Chain(rate, AdaptiveGain(rate) if gain == "adaptive" else gain)

    whole = streamed(chain(), NOISE[:length])
    assert len(whole) == -(-int(length * 48_000 / rate + 0.5) // 960) * 1920
    cut = streamed(chain(), NOISE[:length], [int(place * length) for place in cuts])
    assert len(cut) == len(whole)
    # A sum taken in another order may round the other way in the last bit.
    assert np.abs(np.frombuffer(cut, "<i2").astype(int) - np.frombuffer(whole, "<i2")).max(initial=0) <= 1


def test_every_push_gives_whole_frames():
    chain = Chain(22_050)
    given_out = [chain.push(NOISE[start : start + 1000]) for start in range(0, 60_000, 1000)]
    given_out += [chain.end_segment(), chain.finish()]
    assert all(len(data) % 1920 == 0 for data in given_out)
    assert chain.samples_in == 60_000
    assert chain.samples_out * 2 == sum(map(len, given_out))


def test_16_bit_audio_at_the_wires_rate_passes_to_the_bit(streamed):
    pcm = np.random.default_rng(1).integers(-5000, 5000, 9600, np.int16)
    out = np.frombuffer(streamed(Chain(48_000), pcm), "<i2")
    assert np.array_equal(out[144:-144], pcm[144:-144])  # but for the fades at the edges


def test_the_ceiling_holds_on_the_wire(streamed, true_peak_db):
    assert true_peak_db(samples_of(streamed(Chain(22_050, 20.0), NOISE[:20_000]))) <= -0.99
    assert true_peak_db(samples_of(streamed(Chain(22_050, 20.0, ceiling_dbtp=-6.0), NOISE[:20_000]))) <= -5.99


def test_gain_as_a_number_is_decibels(streamed):
    assert streamed(Chain(24_000, 3), NOISE) == streamed(Chain(24_000, FixedGain(3.0)), NOISE)


def test_segments_are_independent_and_their_starts_are_known(streamed):
    chain, alone = Chain(22_050, -12.0), Chain(22_050, -12.0)  # below the limiter, which knows no segments
    data = chain.push(NOISE[:7000]) + chain.end_segment()
    start = chain.segment_start
    assert start == round(7000 * 48_000 / 22_050)
    data += chain.push(NOISE[7000:16_000]) + chain.finish()
    second = samples_of(streamed(alone, NOISE[7000:16_000]))
    assert np.allclose(samples_of(data)[start : start + 19_000], second[:19_000], atol=2 / 32_768)


def test_the_end_of_a_segment_does_not_wait_for_the_next():
    chain = Chain(22_050)
    data = chain.push(NOISE[:22_050]) + chain.end_segment()
    assert 48_000 - len(data) // 2 < 168 + 960


@pytest.mark.parametrize("rate", [22_050, 48_000])
def test_a_jump_between_segments_does_not_click(rate):
    tone = (0.5 * np.cos(np.arange(rate) * (2 * np.pi * 150 / rate))).astype(np.float32)
    faded, joined = Chain(rate), Chain(rate)
    data = faded.push(tone) + faded.end_segment() + faded.push(-tone) + faded.finish()
    hard = joined.push(np.concatenate((tone, -tone))) + joined.finish()
    assert clicks_db(samples_of(hard), [48_000])[0] > 12
    assert clicks_db(samples_of(data), [48_000])[0] < 0
    assert abs(samples_of(data)[:2]).max() < 0.01


def test_real_segments_join_without_a_click(joe):
    chain, data, starts = Chain(22_050, 9.0), b"", []
    for sentence in joe:
        data += chain.push(sentence) + chain.end_segment()
        starts.append(chain.segment_start)
    data += chain.finish()
    assert max(clicks_db(samples_of(data), [0, *starts[:-1]])) < 0


@pytest.mark.parametrize("end_segments", [0, 1, 3])
def test_no_audio_is_no_frames(end_segments):
    chain = Chain(22_050)
    assert not chain.push(np.empty(0, np.float32))
    assert not any(chain.end_segment() for _ in range(end_segments))
    assert not chain.finish()
    assert chain.samples_out == chain.segment_start == 0


def test_one_sample_is_one_frame(streamed):
    assert len(streamed(Chain(22_050), NOISE[:1])) == 1920


def test_one_sample_at_a_time(streamed):
    cut, whole = (streamed(Chain(48_000, 9.0), NOISE[:2500], cuts) for cuts in (range(2500), ()))
    assert np.abs(samples_of(cut) - samples_of(whole)).max() <= 1 / 32_768


@pytest.mark.parametrize("level", [0.0, 1.0, -1.0, 100.0])
def test_silence_and_direct_current(streamed, level):
    out = samples_of(streamed(Chain(22_050), np.full(22_050, level, np.float32)))
    assert np.abs(out).max() <= 0.8914  # -1 dBFS
    assert out.any() == bool(level)


def test_a_minute_in_one_chunk(streamed):
    assert len(streamed(Chain(24_000, 12.0), np.tile(NOISE, 24))) == 60 * 50 * 1920


def test_a_fault_of_the_model_names_its_place_in_the_utterance():
    chain = Chain(22_050)
    chain.push(NOISE[:10_000])
    bad = NOISE[:100].copy()
    bad[7] = np.nan
    with pytest.raises(InternalError, match="1 of 100 samples as NaN or infinite, the first at 10007"):
        chain.push(bad)


def test_a_rate_must_be_positive():
    with pytest.raises(InvalidArgumentError):
        Chain(0)
