import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ttsw.audio.seams import SegmentFader

RATE = 48_000
FADE = 144


@settings(deadline=None)
@given(length=st.integers(0, 1000), cuts=st.lists(st.integers(0, 1000), max_size=20))
def test_a_segment_cut_anywhere_is_the_same_and_as_long(streamed, length, cuts):
    samples = np.linspace(0.5, -0.5, length, dtype=np.float32)
    cuts = [cut for cut in cuts if cut <= length]
    whole = streamed(SegmentFader(RATE), samples)
    assert len(whole) == length
    assert np.array_equal(whole, streamed(SegmentFader(RATE), samples, cuts))


def test_only_the_edges_are_touched(streamed):
    faded = streamed(SegmentFader(RATE), np.ones(1000, np.float32))
    assert np.all(faded[FADE:-FADE] == 1.0)
    assert faded[0] < 1e-3
    assert faded[-1] < 1e-3
    assert np.all(np.diff(faded[:FADE]) > 0)
    assert np.array_equal(faded, faded[::-1])


def test_every_segment_is_faded(streamed):
    fader = SegmentFader(RATE)
    first = streamed(fader, np.ones(1000, np.float32))
    assert np.array_equal(first, streamed(fader, np.ones(1000, np.float32)))


@pytest.mark.parametrize("length", [1, 2, 100, FADE, FADE + 1, 2 * FADE])
def test_a_segment_shorter_than_its_fades(streamed, length):
    faded = streamed(SegmentFader(RATE), np.ones(length, np.float32))
    assert np.all((faded >= 0) & (faded <= 1))
    assert np.abs(np.diff(faded, prepend=0, append=0)).max() < (0.51 if length < 10 else 0.05)


def test_the_callers_array_stays_as_it_was():
    chunk = np.ones(500, np.float32)
    SegmentFader(RATE).push(chunk)
    assert np.all(chunk == 1.0)


def test_three_milliseconds_are_held():
    assert len(SegmentFader(RATE).push(np.ones(1000, np.float32))) == 1000 - FADE
