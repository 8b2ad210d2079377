import numpy as np
import pytest
import soundfile

from ttsw.adapters.clips import read_clip
from ttsw.errors import InvalidArgumentError, UnavailableError


@pytest.fixture
def write(tmp_path):
    def write(seconds=6.0, rate=24_000, channels=1, level=0.3, **how):
        tone = level * np.sin(np.arange(int(seconds * rate)) * (2 * np.pi * 220 / rate))
        path = tmp_path / how.pop("name", "clip.wav")
        soundfile.write(path, np.stack([tone, np.zeros_like(tone), tone][:channels], axis=1), rate, **how)
        return path

    return write


def test_a_recording_is_read_as_mono_float32(write):
    clip = read_clip(write())
    assert (clip.rate, clip.seconds, clip.samples.dtype) == (24_000, 6.0, np.float32)
    assert np.abs(clip.samples).max() == pytest.approx(0.3, abs=1e-3)


@pytest.mark.parametrize("name", ["clip.wav", "clip.flac", "clip.ogg", "clip.mp3"])
def test_the_usual_formats_are_read(write, name):
    assert read_clip(write(name=name)).seconds == pytest.approx(6.0, abs=0.1)


def test_stereo_is_mixed_down(write):
    assert np.abs(read_clip(write(channels=2)).samples).max() == pytest.approx(0.15, abs=1e-3)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"seconds": 0.2}, r"is 0\.20 s long, and too short to know a voice by: give 6 to 30 s"),
        ({"seconds": 600, "rate": 16_000}, "is 600 s long: give 6 to 30 s of clear speech, 60 s at most"),
        ({"level": 0.0}, "is silent: it never exceeds -50 dBFS"),
        ({"level": 0.003}, "is silent"),
        ({"subtype": "PCM_U8", "channels": 2}, r"has fewer than 16 bits to a sample \(PCM_U8\)"),
        ({"subtype": "ULAW"}, r"has fewer than 16 bits to a sample \(ULAW\)"),
        ({"channels": 3}, "has 3 channels: give mono or stereo"),
        ({"rate": 8_000}, "has a sample rate of 8000 Hz: give 16000 Hz or more"),
        ({"level": np.nan, "subtype": "FLOAT"}, "has samples that are no numbers"),
    ],
)
def test_what_no_voice_can_be_cloned_from_is_refused_and_what_would_be_right_is_told(write, how, told):
    with pytest.raises(InvalidArgumentError, match=told):
        read_clip(write(**how))


def test_what_is_no_audio_is_refused(tmp_path):
    path = tmp_path / "notes.wav"
    path.write_text("this is no audio " * 100)
    with pytest.raises(InvalidArgumentError, match=r"notes\.wav is not audio that can be read .*: give a WAV or FLAC"):
        read_clip(path)
    path.write_bytes(b"")
    with pytest.raises(InvalidArgumentError, match="is not audio"):
        read_clip(path)


def test_one_that_isnt_there_or_is_cut_off(write, tmp_path):
    with pytest.raises((UnavailableError, InvalidArgumentError), match="nowhere"):
        read_clip(tmp_path / "nowhere.wav")
    whole = write()
    whole.write_bytes(whole.read_bytes()[:1_000])
    with pytest.raises(InvalidArgumentError, match=r"0\.0\d s"):
        read_clip(whole)
