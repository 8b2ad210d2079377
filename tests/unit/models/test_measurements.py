import errno
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import Popen
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ttsw.models.measurements import MeasurementStore, ModelRecord, ModelSize
from ttsw.packs.reader import PackError
from ttsw.system import files
from ttsw.types import VoicePack

MEASURED = ModelSize(90_000_000, 120_000_000, 1.25)


@pytest.fixture
def pack(tmp_path):
    weights = tmp_path / "weights"
    weights.write_bytes(b"weights")
    return VoicePack("f", "a", tmp_path, files={"model.onnx": weights})


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state" / "models"


def test_nothing_is_known_at_first(folder):
    assert MeasurementStore(folder)["f-a"] == ModelRecord()
    assert not folder.exists(), "asking writes nothing"


def test_the_second_start_knows(folder, pack):
    book = MeasurementStore(folder)
    book.check(pack)
    book.keep_size("f-a", "cpu", MEASURED)
    book.keep_note("f-a", "calibration", {"lufs": -25.5})
    again = MeasurementStore(folder)
    assert again["f-a"].measured == {"cpu": MEASURED}
    assert again.check(pack).notes == {"calibration": {"lufs": -25.5}}
    assert {path.name for path in folder.iterdir()} == {".lock", "f-a.json"}, "nothing half-written is left"


def test_other_weights_are_another_model(folder, pack):
    book = MeasurementStore(folder)
    book.check(pack)
    book.keep_size("f-a", "cpu", MEASURED)
    pack.files["model.onnx"].write_bytes(b"other weights")
    assert book.check(pack).measured == {}


def test_files_are_read_again_only_where_they_changed(folder, pack, monkeypatch):
    MeasurementStore(folder).check(pack)
    monkeypatch.setattr("ttsw.packs.checksums.file_sha256", lambda path: pytest.fail("read again"))
    assert MeasurementStore(folder).check(pack).digest


def test_touched_files_are_read_again_and_are_the_same_model(folder, pack):
    book = MeasurementStore(folder)
    book.check(pack)
    book.keep_size("f-a", "cpu", MEASURED)
    os.utime(pack.files["model.onnx"], (1, 1))
    assert book.check(pack).measured == {"cpu": MEASURED}


def test_a_wrong_checksum_is_a_fault(folder, pack):
    wrong = VoicePack("f", "a", pack.root, files=pack.files, checksums={"model.onnx": "0" * 64})
    with pytest.raises(
        PackError, match=r"is not the file that the pack describes: its sha256 is [0-9a-f]{64}, and 000"
    ):
        MeasurementStore(folder).check(wrong)


def test_a_file_that_is_gone_is_a_fault(folder, pack):
    pack.files["model.onnx"].unlink()
    with pytest.raises(PackError, match=r"model\.onnx cannot be read"):
        MeasurementStore(folder).check(pack)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"measured": {"cpu": {"size": "big"}}}', '{"version": 99}', "\xff"])
def test_a_record_that_cannot_be_read_is_measured_again(folder, pack, text):
    folder.mkdir(parents=True)
    (folder / "f-a.json").write_text(text, "latin-1")
    book = MeasurementStore(folder)
    assert book["f-a"] == ModelRecord()
    book.check(pack)
    assert json.loads((folder / "f-a.json").read_text("utf-8"))["version"] == 1


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path, pack, capsys):
    (tmp_path / "state").write_text("a file is in the way", "utf-8")
    book = MeasurementStore(tmp_path / "state" / "models")
    book.check(pack)
    book.keep_size("f-a", "cpu", MEASURED)
    assert book["f-a"].measured == {"cpu": MEASURED}, "this run knows all the same"
    assert "failed to save model measurements" in capsys.readouterr().out


def test_two_workers_on_one_folder_keep_what_the_other_measured(folder, pack):
    one, other = MeasurementStore(folder), MeasurementStore(folder)
    one.check(pack)
    other.check(pack)
    one.keep_size("f-a", "cuda:0", MEASURED)
    one.keep_note("f-a", "calibration", {"lufs": -20})
    other.keep_size("f-a", "cpu", MEASURED)
    kept = MeasurementStore(folder)["f-a"]
    assert kept.measured == {"cuda:0": MEASURED, "cpu": MEASURED}
    assert kept.notes == {"calibration": {"lufs": -20}}
    assert other["f-a"] == kept, "and it knows now"


def test_a_check_finds_what_another_worker_has_measured_meanwhile(folder, pack):
    one, other = MeasurementStore(folder), MeasurementStore(folder)
    one.check(pack)
    other.check(pack)
    one.keep_note("f-a", "calibration", {"lufs": -20})
    assert other.check(pack).notes == {"calibration": {"lufs": -20}}


def test_workers_whose_packs_differ_do_not_mix_what_they_measured(folder, pack, tmp_path):
    weights = tmp_path / "newer"
    weights.write_bytes(b"newer weights")
    newer = VoicePack("f", "a", tmp_path, files={"model.onnx": weights})
    one, other = MeasurementStore(folder), MeasurementStore(folder)
    one.check(pack)
    one.keep_size("f-a", "cpu", MEASURED)
    assert other.check(newer).measured == {}
    other.keep_size("f-a", "cuda:0", MEASURED)
    one.keep_note("f-a", "calibration", {"lufs": -20})
    assert MeasurementStore(folder)["f-a"].measured == {"cpu": MEASURED}


WRITER = """
import sys
from pathlib import Path
from ttsw.models.measurements import MeasurementStore, ModelSize

book = MeasurementStore(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for number in range(25):
    book.keep_size("f-a", f"{sys.argv[2]}:{number}", ModelSize(1, 1, 1.0))
"""


def test_processes_that_write_at_the_same_time_lose_nothing(folder):
    writers = [Popen([sys.executable, "-c", WRITER, folder, name], stdin=-1, stdout=-1, text=True) for name in "abc"]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.communicate("go\n", timeout=60)
    assert len(MeasurementStore(folder)["f-a"].measured) == 75


def test_threads_that_write_at_the_same_time_lose_nothing(folder):
    def write(name):
        book = MeasurementStore(folder)
        for number in range(25):
            book.keep_size("f-a", f"{name}:{number}", MEASURED)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, "abc"))
    assert len(MeasurementStore(folder)["f-a"].measured) == 75


def test_a_disk_that_is_full_leaves_the_old_record_and_nothing_else(folder, pack, monkeypatch, capsys):
    book = MeasurementStore(folder)
    book.check(pack)
    before = (folder / "f-a.json").read_bytes()

    def full(*_given):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fchmod", full)
    book.keep_size("f-a", "cpu", MEASURED)
    assert (folder / "f-a.json").read_bytes() == before
    assert {path.name for path in folder.iterdir()} == {".lock", "f-a.json"}
    assert "No space left on device" in capsys.readouterr().out
    monkeypatch.undo()
    book.keep_note("f-a", "calibration", {})
    assert MeasurementStore(folder)["f-a"].measured == {"cpu": MEASURED}, "what couldn't be written goes with the next"


def test_a_lock_that_is_not_given_back_is_a_warning(folder, pack, monkeypatch, capsys):
    book = MeasurementStore(folder)
    book.check(pack)
    monkeypatch.setattr("ttsw.models.measurements.locked", lambda path: files.locked(path, wait_s=0.0))
    with files.locked(folder / ".lock"):
        book.keep_size("f-a", "cpu", MEASURED)
    assert book["f-a"].measured == {"cpu": MEASURED}
    assert "locked by another process" in capsys.readouterr().out


def test_a_damaged_mark_does_not_make_a_good_file_a_damaged_one(folder, pack):
    right = MeasurementStore(folder).check(pack).marks[str(pack.files["model.onnx"])].sha256
    path = folder / "f-a.json"
    path.write_text(path.read_text("utf-8").replace(right, "0" * 64), "utf-8")
    told = VoicePack("f", "a", pack.root, files=pack.files, checksums={"model.onnx": right})
    assert MeasurementStore(folder).check(told).marks[str(pack.files["model.onnx"])].sha256 == right


IMPLAUSIBLE = [
    {"measured": {"cpu": {"size": 1e30, "peak": 1, "load_s": 1.0}}},
    {"measured": {"cpu": {"size": -1, "peak": 1, "load_s": 1.0}}},
    {"measured": {"cpu": {"size": 1, "peak": 1, "load_s": -1.0}}},
    {"measured": {"cpu": {"size": 1, "peak": 1, "load_s": 1e300}}},
    {"marks": {"/x": [1, 1, "none"]}},
    {"digest": "short"},
]


@pytest.mark.parametrize("said", IMPLAUSIBLE)
def test_numbers_that_cannot_be_are_measured_again_which_is_said_once(folder, said, pack, capsys):
    folder.mkdir(parents=True)
    (folder / "f-a.json").write_text(json.dumps(said), "utf-8")
    book = MeasurementStore(folder)
    assert book["f-a"] == ModelRecord()
    book.check(pack)
    book.keep_size("f-a", "cpu", MEASURED)
    assert MeasurementStore(folder)["f-a"].measured == {"cpu": MEASURED}
    assert capsys.readouterr().out.count("model measurements unreadable") == 1


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)
SIZES = st.fixed_dictionaries({"size": PLAIN, "peak": PLAIN, "load_s": PLAIN})
RECORDS = st.fixed_dictionaries(
    {},
    optional={
        "digest": PLAIN,
        "marks": st.dictionaries(st.text(max_size=10), PLAIN, max_size=3) | PLAIN,
        "measured": st.dictionaries(st.text(max_size=10), SIZES | PLAIN, max_size=3) | PLAIN,
        "notes": st.dictionaries(st.text(max_size=10), PLAIN, max_size=3) | PLAIN,
        "version": st.just(1) | PLAIN,
    },
)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | (RECORDS | PLAIN).map(lambda said: json.dumps(said).encode()))
def test_whatever_a_file_says_a_record_comes_of_it_that_can_be_used(content):
    with TemporaryDirectory() as folder:
        path = Path(folder, "f-a.json")
        path.write_bytes(content)
        record = MeasurementStore(path.parent)["f-a"]
        for measured in record.measured.values():
            assert 0 <= measured.size <= 1 << 42
            assert 0 <= measured.load_s <= 86_400
        MeasurementStore(path.parent).keep_size("f-a", "cpu", MEASURED)
        assert MeasurementStore(path.parent)["f-a"].measured["cpu"] == MEASURED
