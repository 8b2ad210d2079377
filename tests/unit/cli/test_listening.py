"""The listener's figures, on a clock in the test's hand, and where audio is kept."""

import io
import struct
import wave
from contextlib import suppress
from types import SimpleNamespace

import pytest

from ttsw.cli.listening import Listener, Recorder, endless_wav_header
from ttsw.errors import InvalidArgumentError, UnavailableError

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
    return Listener(clock)


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


def test_silence_is_told_as_such(listener):
    assert "nothing in this text can be spoken" in listener.summary("out.wav")


def test_a_file_is_a_wav(tmp_path):
    with Recorder(str(tmp_path / "out.wav")) as recorder:
        recorder.write(b"\x01\x02" * 960)
        recorder.write(b"")
    with wave.open(str(tmp_path / "out.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (48_000, 1, 2)
        assert file.readframes(2000) == b"\x01\x02" * 960


def test_a_file_broken_off_is_a_wav_too(tmp_path):
    with suppress(KeyError), Recorder(str(tmp_path / "out.wav")) as recorder:
        recorder.write(FRAME)
        raise KeyError
    with wave.open(str(tmp_path / "out.wav")) as file:
        assert file.getnframes() == 960


def test_a_path_that_cannot_be_written_is_told(tmp_path):
    path = tmp_path / "no" / "out.wav"
    with pytest.raises(InvalidArgumentError, match=r"cannot write .*out\.wav: No such file"), Recorder(str(path)):
        pass
    with pytest.raises(InvalidArgumentError, match="Is a directory"), Recorder(str(tmp_path)):
        pass


def test_without_a_target_nothing_is_kept():
    with Recorder(None) as recorder:
        recorder.write(FRAME)
    assert "not kept" in recorder.name


def test_a_stream_begins_with_a_header_of_unknown_length(monkeypatch):
    pipe = io.BytesIO()
    monkeypatch.setattr("sys.stdout", SimpleNamespace(buffer=pipe))
    with Recorder("-") as recorder:
        recorder.write(FRAME)
    assert recorder.name == "stdout"
    assert pipe.getvalue() == endless_wav_header() + FRAME


def test_the_header_is_a_wavs():
    header = endless_wav_header()
    assert len(header) == 44
    riff, size, form, fmt, length, kind, channels, rate, bytes_s, block, bits, data, most = struct.unpack(
        "<4sI4s4sIHHIIHH4sI", header
    )
    assert (riff, form, fmt, data) == (b"RIFF", b"WAVE", b"fmt ", b"data")
    assert (length, kind, channels, rate, bytes_s, block, bits) == (16, 1, 1, 48_000, 96_000, 2, 16)
    assert size == most == 2**32 - 1


def test_a_reader_of_stdout_that_has_left_is_told(monkeypatch, tmp_path):
    with (tmp_path / "stands for a pipe").open("wb") as file:

        def refuse(_data):
            raise BrokenPipeError

        pipe = SimpleNamespace(write=refuse, flush=file.flush, fileno=file.fileno)
        recorder = Recorder("-")
        recorder._pipe = pipe
        with pytest.raises(UnavailableError, match="has left"):
            recorder.write(FRAME)
