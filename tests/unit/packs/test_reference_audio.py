"""Recordings registered by name: written whole, measured, listed, removed."""

import numpy as np
import pytest
import soundfile

from ttsw.adapters.reference_lookup import find_transcript
from ttsw.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError, UnavailableError
from ttsw.packs.reference_audio import add_clip, clips_dir, find_clips, place, read, remove_clip

RATE = 24_000


def tone(seconds=7.0, level=0.2, rate=RATE):
    return (level * np.sin(np.arange(round(seconds * rate)) * (2 * np.pi * 220 / rate))).astype(np.float32)


def test_a_clip_comes_back_as_it_was(tmp_path):
    folder = tmp_path / "data" / "clips"
    clip = add_clip(folder, "anna", tone(), RATE)
    assert clip == read(folder / "anna.wav")
    assert (clip.name, clip.seconds, clip.rate, clip.clipped) == ("anna", 7.0, RATE, False)
    assert clip.rms_dbfs == pytest.approx(20 * np.log10(0.2 / np.sqrt(2)), abs=0.01)
    assert clip.cautions() == ()
    info = soundfile.info(clip.path)
    assert (info.format, info.subtype, info.channels) == ("WAV", "PCM_24", 1)
    samples, _ = soundfile.read(clip.path, dtype="float32")
    assert np.abs(samples - tone()).max() <= 2**-23
    assert [path.name for path in folder.iterdir()] == ["anna.wav"]


def test_the_folder_is_the_users():
    assert str(clips_dir({"XDG_DATA_HOME": "/data"})) == "/data/ttsw/clips"


@pytest.mark.parametrize("name", ["", "Anna", "-anna", "an/na", "..", "anna.wav", "a" * 65, "anna\n", "änna"])
def test_a_name_must_be_plain(tmp_path, name):
    with pytest.raises(InvalidArgumentError, match=r"is no name for a clip: .* for example anna-2"):
        add_clip(tmp_path, name, tone(), RATE)


@pytest.mark.parametrize("name", ["a", "2", "anna-2", "a" * 64])
def test_names_that_can_be(tmp_path, name):
    assert place(tmp_path, name) == tmp_path / f"{name}.wav"


def test_a_clip_is_replaced_only_on_request(tmp_path):
    add_clip(tmp_path, "anna", tone(), RATE)
    with pytest.raises(AlreadyExistsError, match=r"there is a clip 'anna'; choose another name, or .* --replace"):
        add_clip(tmp_path, "anna", tone(8), RATE)
    assert read(tmp_path / "anna.wav").seconds == 7
    assert add_clip(tmp_path, "anna", tone(8), RATE, replace=True).seconds == 8


def test_a_write_that_fails_leaves_what_was(tmp_path, monkeypatch):
    add_clip(tmp_path, "anna", tone(), RATE)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ttsw.packs.reference_audio.os.fsync", fail)
    with pytest.raises(UnavailableError, match=r"anna\.wav cannot be written: .*No space left"):
        add_clip(tmp_path, "anna", tone(8), RATE, replace=True)
    assert read(tmp_path / "anna.wav").seconds == 7
    assert [path.name for path in tmp_path.iterdir()] == ["anna.wav"]


@pytest.mark.parametrize(
    ("samples", "rate", "said"),
    [
        (tone(5.9), RATE, "it lasts 5.9 s; a voice is caught better in 6 s or more"),
        (np.clip(tone(level=1.5), -1, 1), RATE, "it is clipped; record it at a lower level"),
        (tone(level=0.02), RATE, "it is quiet (-37 dBFS RMS); record it closer, or louder"),
        (tone(rate=16_000), 16_000, "its rate is 16000 Hz; 22050 Hz or more keep the voice's brightness"),
    ],
)
def test_what_could_be_better_is_said(tmp_path, samples, rate, said):
    assert add_clip(tmp_path, "anna", samples, rate).cautions() == (said,)


def test_a_loud_peak_alone_is_not_clipped(tmp_path):
    samples = tone()
    samples[100:102] = 1
    assert not add_clip(tmp_path, "anna", samples, RATE).clipped


def test_all_are_found_and_the_broken_are_told(tmp_path):
    assert find_clips(tmp_path / "none") == ((), {})
    add_clip(tmp_path, "bert", tone(), RATE)
    add_clip(tmp_path, "anna", np.zeros(RATE, np.float32), RATE)
    (tmp_path / "odd.wav").write_text("no audio")
    soundfile.write(tmp_path / "By Hand.wav", tone(), RATE)
    clips, faults = find_clips(tmp_path)
    assert [(clip.name, clip.rms_dbfs > -60) for clip in clips] == [("anna", False), ("bert", True)]
    assert set(faults) == {"odd", "By Hand"}
    assert "odd.wav cannot be read" in faults["odd"]


def test_a_clip_is_removed(tmp_path):
    add_clip(tmp_path / "clips", "anna", tone(), RATE)
    soundfile.write(tmp_path / "other.wav", tone(), RATE)
    for name in ("bert", "../other"):
        with pytest.raises(NotFoundError, match=f"no clip '{name}'; there are: anna"):
            remove_clip(tmp_path / "clips", name)
    remove_clip(tmp_path / "clips", "anna")
    with pytest.raises(NotFoundError, match="there are: none"):
        remove_clip(tmp_path / "clips", "anna")


def test_what_is_said_in_a_clip_stands_beside_it_and_goes_with_it(tmp_path):
    assert add_clip(tmp_path, "anna", tone(), RATE, "Ob blond oder braun.").transcript == "Ob blond oder braun."
    assert find_transcript(tmp_path / "anna.wav") == "Ob blond oder braun."
    assert add_clip(tmp_path, "anna", tone(8), RATE, replace=True).transcript == ""
    assert find_transcript(tmp_path / "anna.wav") is None, "another recording's words"
    add_clip(tmp_path, "anna", tone(8), RATE, "Again.", replace=True)
    remove_clip(tmp_path, "anna")
    assert list(tmp_path.iterdir()) == []
