import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ttsw.audio.framing import Framer, frame_audio, to_pcm
from ttsw.audio.mix import to_mono
from ttsw.errors import InvalidArgumentError

int16s = hnp.arrays(np.int16, st.integers(0, 5000))


@settings(deadline=None)
@given(pcm=int16s, cuts=st.lists(st.integers(0, 5000), max_size=20))
def test_no_sample_is_lost_or_repeated_however_the_stream_is_cut(streamed, pcm, cuts):
    data = streamed(Framer(), to_mono(pcm), [cut for cut in cuts if cut <= len(pcm)])
    assert len(data) == -(-len(pcm) // 960) * 1920
    assert data[: pcm.nbytes] == pcm.astype("<i2").tobytes()
    assert not any(data[pcm.nbytes :])


@settings(deadline=None)
@given(pcm=int16s)
def test_frames_are_the_streams_frames(streamed, pcm):
    frames = list(frame_audio(pcm))
    assert all(frame.shape == (960,) and frame.dtype == np.int16 for frame in frames)
    assert b"".join(frame.astype(np.int16).tobytes() for frame in frames) == streamed(Framer(), to_mono(pcm))


def test_every_push_gives_whole_frames_and_keeps_the_rest():
    framer = Framer()
    assert framer.push(np.zeros(959, np.float32)) == b""
    assert framer.pending == 959
    assert len(framer.push(np.zeros(962, np.float32))) == 2 * 1920
    assert framer.pending == 1
    assert len(framer.finish()) == 1920
    assert framer.finish() == b""


def test_rounding_is_to_nearest_and_ties_go_to_even():
    steps = np.array([0.4, 0.5, 0.6, 1.5, 2.5, -0.5, -1.5, -0.6], np.float32) / 32_768
    assert to_pcm(steps).tolist() == [0, 0, 1, 2, 2, 0, -2, -1]


def test_what_is_too_loud_is_clipped():
    assert to_pcm(np.array([2.0, 1.0, -1.0, -9.0], np.float32)).tolist() == [32_767, 32_767, -32_768, -32_768]


def test_float_audio_is_scaled_and_float64_is_welcome():
    (frame,) = frame_audio(np.full(960, 0.5))
    assert np.all(frame == 16_384)


@pytest.mark.parametrize(("audio", "size"), [(np.zeros(9), 0), (np.zeros((9, 2)), 960), (np.zeros(9, np.int32), 960)])
def test_what_cannot_be_framed(audio, size):
    with pytest.raises(InvalidArgumentError, match="cannot frame"):
        next(frame_audio(audio, size))
