"""The listener's figures, on a clock in the test's hand."""

import pytest

from ttsw.cli.say.listener import PlaybackListener

FRAME = bytes(1920)


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def listener(clock):
    return PlaybackListener(clock)


def hear(listener, clock, *times):
    for at in times:
        clock.now = 100 + at
        listener.hear(FRAME)


def test_time_to_first_audio_counts_from_when_the_text_was_handed_over(listener, clock):
    clock.now = 101.0
    listener.hear(b"")
    hear(listener, clock, 1.25)
    assert listener.first_s == pytest.approx(0.25)


def test_an_end_marker_is_no_audio_and_no_new_beginning(listener, clock):
    hear(listener, clock, 0.5)
    clock.now = 109
    listener.hear(b"")
    assert (listener.frames, listener.audio_s) == (1, 0.02)
    assert listener.took_s == pytest.approx(0.5)


def test_frames_in_time_are_no_underrun(listener, clock):
    hear(listener, clock, 0, 0.02, 0.04, 0.05, 0.06)
    assert (listener.frames, listener.underruns, listener.largest_gap_s) == (5, 0, 0)


def test_a_burst_is_played_from_its_store(listener, clock):
    hear(listener, clock, 0, 0, 0, 0.06 - 1e-9)
    assert listener.underruns == 0


def test_a_player_that_runs_dry_is_an_underrun_by_as_much_as_it_waited(listener, clock):
    hear(listener, clock, 0, 0.12, 0.14, 0.19)
    assert listener.underruns == 2
    assert listener.largest_gap_s == pytest.approx(0.1)


def test_the_summary_tells_it_all(listener, clock):
    hear(listener, clock, 0.5, *(0.5 + 0.02 * at for at in range(1, 49)), 2.0)
    told = listener.summary("out.wav")
    for words in ("out.wav: 1.00 s of audio", "first after 500 ms", "all after 2.00 s", "RTF 2.000", "1 underruns"):
        assert words in told
    assert "largest 520 ms" in told
