from pathlib import Path

import pytest

from ttsw.config import shipped_dir
from ttsw.errors import NotFoundError
from ttsw.models.packs import PackError, read_pack, read_shelf

METADATA = """\
family: piper
model_id: anna
languages: [de]
audio: {sample_rate: 22050}
options: {speed: 1.5}
"""


def write(root: Path, text: str = METADATA, where: str = "piper/anna", **files: str) -> Path:
    folder = root / where
    folder.mkdir(parents=True)
    (folder / "metadata.yaml").write_text(text, "utf-8")
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content, "utf-8")
    return folder


def test_the_shipped_packs_can_be_used():
    shelf = read_shelf(shipped_dir("voicepacks"))
    assert shelf.broken == {}
    assert {"mock-440hz", "piper-en-us-joe-medium"} <= set(shelf.packs)
    joe = shelf["piper-en-us-joe-medium"]
    assert (joe.sample_rate, joe.languages, joe.license) == (22_050, ("en",), "CC0-1.0")
    assert joe.files["model.onnx"].stat().st_size > 50e6


def test_a_pack_is_what_lies_in_it(tmp_path):
    pack = read_pack(write(tmp_path, de__onnx="x", de__json="{}"))
    assert (pack.model_id, pack.options, pack.channels) == ("piper-anna", {"speed": "1.5"}, 1)
    assert {name: path.name for name, path in pack.files.items()} == {"de.onnx": "de.onnx", "de.json": "de.json"}


def test_a_broken_pack_is_named_with_its_fault_and_hides_no_other(tmp_path):
    write(tmp_path)
    write(tmp_path, "family: [", "piper/bad")
    shelf = read_shelf(tmp_path)
    assert list(shelf.packs) == ["piper-anna"]
    with pytest.raises(PackError, match=r"bad.metadata\.yaml: cannot be read"):
        shelf["piper-bad"]
    with pytest.raises(NotFoundError, match="no model 'x'; there are: piper-anna"):
        shelf["x"]


def test_a_missing_folder_is_an_empty_shelf(tmp_path):
    with pytest.raises(NotFoundError, match="there are: none"):
        read_shelf(tmp_path / "nowhere")["x"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (METADATA + "colour: red\n", "colour: Extra inputs are not permitted"),
        (METADATA.replace("22050", "fast"), "audio.sample_rate: Input should be a valid integer"),
        (METADATA.replace("22050", "11"), "audio.sample_rate: Input should be greater than or equal to 8000"),
        (METADATA.replace("audio: {sample_rate: 22050}\n", ""), "audio: Field required"),
        ("- a list\n", "the file: Input should be a valid dictionary"),
        ("", "the file"),
        (METADATA.replace("anna", "berta"), "it says family 'piper' and model_id 'berta'.*both must agree"),
        (METADATA + "files: {model.onnx: none.onnx}\n", "model.onnx: there is no file none.onnx"),
        (METADATA + "files: {model.onnx: ../../secret}\n", "'../../secret' lies outside the pack"),
        (METADATA + "files: {model.onnx: /etc/passwd}\n", "'/etc/passwd' lies outside the pack"),
        (METADATA + "files: {m: 'package://no_such_package/x'}\n", "Python package 'no_such_package', which is not"),
        (METADATA + "files: {m: 'package://ttsw/../../x'}\n", "lies outside its package"),
        (METADATA + "files: {m: 'package://ttsw/nothing'}\n", "there is no file package://ttsw/nothing"),
    ],
)
def test_faults_say_what_is_wrong(tmp_path, text, fault):
    with pytest.raises(PackError, match=fault):
        read_pack(write(tmp_path, text))


def test_a_symlink_out_of_the_pack_is_refused(tmp_path):
    (tmp_path / "secret").write_text("x", "utf-8")
    folder = write(tmp_path / "packs", METADATA + "files: {model.onnx: link}\n")
    (folder / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(PackError, match="'link' lies outside the pack"):
        read_pack(folder)


def test_of_two_packs_with_one_id_the_later_folders_counts(tmp_path):
    write(tmp_path / "ours")
    write(tmp_path / "ours", METADATA.replace("anna", "berta"), "piper/berta")
    write(tmp_path / "theirs", METADATA.replace("1.5", "2"))
    write(tmp_path / "theirs", "family: [", "piper/berta")
    shelf = read_shelf(tmp_path / "ours", tmp_path / "theirs", tmp_path / "nowhere")
    assert shelf["piper-anna"].options == {"speed": "2"}
    assert list(shelf.broken) == ["piper-berta"]
