import json
import os

import pytest

from ttsw.models.packs import PackError
from ttsw.models.records import Measured, Record, RecordBook
from ttsw.types import VoicePack

MEASURED = Measured(90_000_000, 120_000_000, 1.25)


@pytest.fixture
def pack(tmp_path):
    weights = tmp_path / "weights"
    weights.write_bytes(b"weights")
    return VoicePack("f", "a", tmp_path, files={"model.onnx": weights})


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state" / "models"


def test_nothing_is_known_at_first(folder):
    assert RecordBook(folder)["f-a"] == Record()
    assert not folder.exists(), "asking writes nothing"


def test_the_second_start_knows(folder, pack):
    book = RecordBook(folder)
    book.check(pack)
    book.keep_size("f-a", "cpu", MEASURED)
    book.keep_note("f-a", "calibration", {"lufs": -25.5})
    again = RecordBook(folder)
    assert again["f-a"].measured == {"cpu": MEASURED}
    assert again.check(pack).notes == {"calibration": {"lufs": -25.5}}
    assert [path.name for path in folder.iterdir()] == ["f-a.json"], "nothing half-written is left"


def test_other_weights_are_another_model(folder, pack):
    book = RecordBook(folder)
    book.check(pack)
    book.keep_size("f-a", "cpu", MEASURED)
    pack.files["model.onnx"].write_bytes(b"other weights")
    assert book.check(pack).measured == {}


def test_files_are_read_again_only_where_they_changed(folder, pack, monkeypatch):
    RecordBook(folder).check(pack)
    monkeypatch.setattr("ttsw.models.digest.file_sha256", lambda path: pytest.fail("read again"))
    assert RecordBook(folder).check(pack).digest


def test_touched_files_are_read_again_and_are_the_same_model(folder, pack):
    book = RecordBook(folder)
    book.check(pack)
    book.keep_size("f-a", "cpu", MEASURED)
    os.utime(pack.files["model.onnx"], (1, 1))
    assert book.check(pack).measured == {"cpu": MEASURED}


def test_a_wrong_checksum_is_a_fault(folder, pack):
    wrong = VoicePack("f", "a", pack.root, files=pack.files, checksums={"model.onnx": "0" * 64})
    with pytest.raises(
        PackError, match=r"is not the file that the pack describes: its sha256 is [0-9a-f]{64}, and 000"
    ):
        RecordBook(folder).check(wrong)


def test_a_file_that_is_gone_is_a_fault(folder, pack):
    pack.files["model.onnx"].unlink()
    with pytest.raises(PackError, match=r"model\.onnx cannot be read"):
        RecordBook(folder).check(pack)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"measured": {"cpu": {"size": "big"}}}', '{"version": 99}', "\xff"])
def test_a_record_that_cannot_be_read_is_measured_again(folder, pack, text):
    folder.mkdir(parents=True)
    (folder / "f-a.json").write_text(text, "latin-1")
    book = RecordBook(folder)
    assert book["f-a"] == Record()
    book.check(pack)
    assert json.loads((folder / "f-a.json").read_text("utf-8"))["version"] == 1


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path, pack, capsys):
    (tmp_path / "state").write_text("a file is in the way", "utf-8")
    book = RecordBook(tmp_path / "state" / "models")
    book.check(pack)
    book.keep_size("f-a", "cpu", MEASURED)
    assert book["f-a"].measured == {"cpu": MEASURED}, "this run knows all the same"
    assert "can't be kept" in capsys.readouterr().out
