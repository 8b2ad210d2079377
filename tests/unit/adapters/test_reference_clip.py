"""What recordings a voice can be cloned from, and what is said of the others."""

import re
import sys
from subprocess import run

import numpy as np
import pytest
import soundfile

from ttsw.adapters.reference_clip import ReferenceClip, check, read_clip
from ttsw.errors import InvalidArgumentError


@pytest.fixture
def write(tmp_path):
    """Writes a tone to a file, and gives its path."""

    def write(seconds=6.0, rate=24_000, channels=1, level=0.3, name="clip.wav", **how):
        tone = level * np.sin(np.arange(round(seconds * rate)) * (2 * np.pi * 220 / rate))
        path = tmp_path / name
        soundfile.write(path, np.stack([tone, np.zeros_like(tone), tone][:channels], axis=1), rate, **how)
        return path

    return write


def test_a_recording_is_read_as_mono_float32(write):
    clip = read_clip(write())
    assert (clip.rate, clip.samples.shape, clip.samples.dtype) == (24_000, (144_000,), np.float32)
    assert np.abs(clip.samples).max() == pytest.approx(0.3, abs=1e-3)


def test_two_channels_are_mixed(write):
    clip = read_clip(write(channels=2))
    assert clip.samples.shape == (144_000,)
    assert np.abs(clip.samples).max() == pytest.approx(0.15, abs=1e-3)


@pytest.mark.parametrize("name", ["clip.wav", "clip.flac", "clip.ogg", "clip.mp3"])
def test_the_usual_formats_are_read(write, name):
    clip = read_clip(write(name=name))
    assert len(clip.samples) / clip.rate == pytest.approx(6.0, abs=0.1)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_16_bits_and_more_are_enough(write, subtype):
    assert len(read_clip(write(subtype=subtype)).samples) == 144_000


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"seconds": 0.2}, "lasts 0.20 s, which is too short; use 6 to 30 s of clear speech"),
        ({"seconds": 0.99}, "lasts 0.99 s, which is too short"),
        ({"seconds": 61, "rate": 16_000}, "lasts 61 s, which is too long; use 6 to 30 s of clear speech"),
        ({"level": 0}, "is silent: no sample reaches -50 dBFS"),
        ({"level": 0.003}, "is silent"),
        ({"subtype": "PCM_U8"}, r"has fewer than 16 bits a sample \(PCM_U8\); use 16 bits or more"),
        ({"subtype": "ULAW"}, r"has fewer than 16 bits a sample \(ULAW\)"),
        ({"subtype": "IMA_ADPCM"}, r"has fewer than 16 bits a sample \(IMA_ADPCM\)"),
        ({"channels": 3}, "has 3 channels; use a recording with 1 or 2"),
        ({"rate": 8_000}, "has a rate of 8000 Hz; use 16000 Hz or more"),
        ({"level": np.nan, "subtype": "FLOAT"}, "holds samples that are not finite numbers"),
    ],
)
def test_what_no_voice_can_be_cloned_from_is_refused(write, how, said):
    path = write(**how)
    with pytest.raises(InvalidArgumentError, match=f"{re.escape(str(path))} {said}"):
        read_clip(path)


@pytest.mark.parametrize("how", [{"seconds": 1.0}, {"seconds": 60.0}, {"level": 0.004}, {"rate": 16_000}])
def test_what_is_just_enough_is_taken(write, how):
    assert len(read_clip(write(**how)).samples) > 0


@pytest.mark.parametrize("content", [b"", b"no audio", b"RIFF" + bytes(60)])
def test_what_is_no_audio_is_refused(tmp_path, content):
    (tmp_path / "odd.wav").write_bytes(content)
    for path in (tmp_path / "odd.wav", tmp_path / "none.wav", tmp_path):
        with pytest.raises(InvalidArgumentError, match=f"{re.escape(str(path))} is not audio that can be read"):
            read_clip(path)


def test_a_recording_that_breaks_off_counts_as_long_as_it_is(write):
    path = write()
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(InvalidArgumentError, match=r"lasts 0\.4. s, which is too short"):
        read_clip(path)


def test_what_comes_from_elsewhere_is_checked_alike(tmp_path):
    check(ReferenceClip(np.full(48_000, 0.1, np.float32), 48_000), tmp_path)
    with pytest.raises(InvalidArgumentError, match="too short"):
        check(ReferenceClip(np.full(47_999, 0.1, np.float32), 48_000), tmp_path)


def test_importing_it_imports_no_audio_library():
    code = "import sys, ttsw.adapters.reference_clip; sys.exit('soundfile' in sys.modules)"
    assert run([sys.executable, "-c", code], check=False).returncode == 0
