"""`reference_audio` reaches recordings of the pack and registered clips, and nothing else."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from ttsw.adapters.reference_lookup import MOST_BYTES, MOST_TRANSCRIPT, find_recording, find_transcript
from ttsw.errors import InvalidArgumentError, NotFoundError, UnavailableError
from ttsw.types import VoicePack


@pytest.fixture
def clips(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("anna", "bert"):
        (folder / f"{name}.wav").touch()
    return folder


@pytest.fixture
def rooted(tmp_path):
    """A pack with more recordings in its folder, and secrets beside it."""
    root = tmp_path / "packs" / "tiny"
    (root / "ref").mkdir(parents=True)
    for path in (root / "ref" / "seed.wav", root / "ref" / "other.wav", root.parent / "outside.wav"):
        path.write_bytes(b"a recording")
    (root / "link.wav").symlink_to(root.parent / "outside.wav")
    return VoicePack("xtts-v2", "tiny", root, files={"seed.wav": root / "ref" / "seed.wav"})


@pytest.mark.parametrize(
    ("named", "found"),
    [
        (None, "ref/seed.wav"),
        ("seed.wav", "ref/seed.wav"),
        ("ref/other.wav", "ref/other.wav"),
        ("ref/./seed.wav", "ref/seed.wav"),
    ],
)
def test_recordings_of_the_pack(rooted, named, found):
    assert find_recording(named, rooted, None) == rooted.root / found


def test_registered_clips(rooted, clips):
    assert find_recording("anna", rooted, clips) == clips / "anna.wav"


@pytest.mark.parametrize(
    "named", ["../outside.wav", "/etc/passwd", "ref/../../outside.wav", "link.wav", "a\0b", "..", "ref/../ref/seed.wav"]
)
def test_nothing_outside_is_reached(rooted, clips, named):
    with pytest.raises(InvalidArgumentError, match="is not valid: it must be the name of a registered clip, or a file"):
        find_recording(named, rooted, clips)


@pytest.mark.parametrize("named", ["nobody", "", "anna.wav", "ref", "Anna", "x" * 5000, "~"])
def test_what_is_not_there_is_told_with_what_is(rooted, clips, named):
    with pytest.raises((NotFoundError, InvalidArgumentError)) as caught:
        find_recording(named, rooted, clips)
    if isinstance(caught.value, NotFoundError):
        assert "there are: seed.wav, anna, bert (ttsw voices clone NAME FILE registers one)" in str(caught.value)
    assert len(str(caught.value)) < 300


def test_of_many_the_first_ten_are_listed(rooted, clips):
    for number in range(20):
        (clips / f"clip-{number:02}.wav").touch()
    with pytest.raises(NotFoundError, match=r"seed\.wav, anna, bert, clip-00.*clip-06 and 13 more"):
        find_recording("nobody", rooted, clips)


def test_a_pack_without_a_voice_asks_for_one(rooted, clips):
    with pytest.raises(
        InvalidArgumentError, match="has no voice of its own: give reference_audio; there are: anna, bert"
    ):
        find_recording(None, replace(rooted, files={}), clips)


def test_what_is_said_in_a_recording_stands_beside_it(clips):
    assert find_transcript(clips / "anna.wav") is None
    (clips / "anna.txt").write_text("  Ob blonde\n  or braune? ")
    assert find_transcript(clips / "anna.wav") == "Ob blonde or braune?"
    (clips / "anna.txt").write_text(" \n")
    assert find_transcript(clips / "anna.wav") is None


@pytest.mark.parametrize(
    ("content", "match"), [(b"\xff\xfe", "UTF-8"), (b"x" * (MOST_TRANSCRIPT + 1), "longer than a transcript")]
)
def test_what_cannot_be_a_transcript_is_told(clips, content, match):
    (clips / "anna.txt").write_bytes(content)
    with pytest.raises(InvalidArgumentError, match=match):
        find_transcript(clips / "anna.wav")


@pytest.mark.parametrize("named", ["llm.pt", "weights/llm.pt", "clip", None])
def test_a_file_of_the_pack_that_is_no_recording_is_not_read(rooted, clips, named):
    """A client may name any file of the pack, and weights have gigabytes."""
    (rooted.root / "weights").mkdir()
    for path in (rooted.root / "weights" / "llm.pt", clips / "clip.wav"):
        with path.open("wb") as file:
            file.truncate(MOST_BYTES + 1)
    weights = rooted.root / "weights" / "llm.pt"
    pack = replace(rooted, files={"llm.pt": weights, "seed.wav": weights})
    with pytest.raises(InvalidArgumentError, match=r"has 64 MB, which is too much for a recording; at most 64 MB"):
        find_recording(named, pack, clips)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES])
def test_what_the_system_refuses_is_not_the_transcript_s_fault(rooted, monkeypatch, number):
    def fail(path, *_):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(UnavailableError, match=rf"seed\.txt cannot be read: {os.strerror(number)}; "):
        find_transcript(rooted.root / "ref" / "seed.wav")


def test_a_transcript_may_begin_with_a_mark_of_its_encoding(rooted):
    (rooted.root / "ref" / "seed.txt").write_bytes(b"\xef\xbb\xbfWhat is said.\n")
    assert find_transcript(rooted.root / "ref" / "seed.wav") == "What is said."
