import hashlib
import os
from pathlib import Path

import pytest

from ttsw.packs.checksums import digest, file_sha256, stamp_files
from ttsw.packs.reader import PackError
from ttsw.types import VoicePack


@pytest.fixture
def pack(tmp_path):
    files = {}
    for role in ("model.onnx", "config.json"):
        files[role] = tmp_path / role
        files[role].write_bytes(role.encode() * 300_000)
    return VoicePack("f", "a", tmp_path, files=files)


def known(pack):
    marks = stamp_files(pack, {})
    return marks, digest(pack, marks)


def test_a_file_is_read_piece_by_piece(pack):
    told = []
    path = pack.files["model.onnx"]
    assert file_sha256(path, told.append) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(told) == 3
    assert sum(told) == path.stat().st_size


def test_it_changes_when_a_byte_does(pack):
    marks, before = known(pack)
    path = pack.files["config.json"]
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    os.utime(path, ns=(1, 1))
    assert digest(pack, stamp_files(pack, marks)) != before


def test_it_changes_when_files_change_their_roles(pack):
    swapped = dict(zip(pack.files, reversed(pack.files.values()), strict=True))
    other = VoicePack("f", "a", pack.root, files=swapped)
    assert digest(other, stamp_files(other, {})) != known(pack)[1]


def test_it_is_the_same_wherever_the_files_are(pack, tmp_path):
    moved = {role: path.rename(tmp_path / f"moved-{role}") for role, path in reversed(pack.files.items())}
    marks = stamp_files(VoicePack("f", "a", tmp_path, files=moved), {})
    assert set(marks) == set(map(str, moved.values()))
    before = VoicePack("f", "a", tmp_path, files=dict(sorted(moved.items())))
    assert digest(before, marks) == digest(VoicePack("f", "a", tmp_path, files=moved), marks)


def test_checksums_are_held(pack):
    right = {role: file_sha256(path) for role, path in pack.files.items()}
    assert stamp_files(VoicePack("f", "a", pack.root, files=pack.files, checksums=right), {})
    wrong = VoicePack("f", "a", pack.root, files=pack.files, checksums=right | {"model.onnx": "0" * 64})
    with pytest.raises(PackError, match="damaged, cut short or another version"):
        stamp_files(wrong, {})
    marks = stamp_files(pack, {})
    with pytest.raises(PackError):
        stamp_files(wrong, marks)  # a file that was read before is held against the checksum all the same


def test_what_cannot_be_read_is_a_fault(pack):
    pack = VoicePack("f", "a", pack.root, files={"model.onnx": Path(pack.root / "none")})
    with pytest.raises(PackError, match=r"model\.onnx cannot be read"):
        stamp_files(pack, {})
