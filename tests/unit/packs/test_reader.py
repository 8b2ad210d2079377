"""One pack: which of its files are there, and which packs are refused."""

import os
import sys
from pathlib import Path

import pytest

from ttsw.config import shipped_dir
from ttsw.packs.reader import PackError, PackIncompleteError, read_pack, read_status
from ttsw.packs.status import size_text

METADATA = """\
family: piper
model_id: anna
languages: [de]
audio: {sample_rate: 22050}
options: {speed: 1.5}
"""
SHA256 = "0123456789abcdef" * 4


def write(root: Path, text: str = METADATA, where: str = "piper/anna", **files: str) -> Path:
    folder = root / where
    folder.mkdir(parents=True)
    (folder / "metadata.yaml").write_text(text, "utf-8")
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content, "utf-8")
    return folder


def with_url(size: int = 4) -> str:
    return f"{METADATA}files: {{model.onnx: {{url: 'https://host.example/m', sha256: {SHA256}, bytes: {size}}}}}\n"


@pytest.mark.parametrize("folder", sorted(shipped_dir("voicepacks").glob("*/*")), ids=lambda folder: folder.name)
def test_a_shipped_pack_is_right_whatever_it_still_lacks(folder, tmp_path):
    draft = read_status(folder, tmp_path)
    assert draft.pack.license
    assert draft.pack.source
    assert draft.pack.languages
    assert draft.pack.capabilities.streaming


def test_the_default_voice_is_whole():
    joe = read_pack(shipped_dir("voicepacks") / "piper" / "en-us-joe-medium")
    assert (joe.sample_rate, joe.languages, joe.license) == (22_050, ("en",), "CC0-1.0")
    assert joe.files["model.onnx"].stat().st_size > 50e6
    assert set(joe.checksums) == set(joe.files) == {"model.onnx", "config.json"}


def test_a_pack_is_what_lies_in_it(tmp_path):
    folder = write(tmp_path, de__onnx="x", de__json="{}", __hidden="")
    (folder / "ref").mkdir()
    pack = read_pack(folder)
    assert (pack.model_id, pack.options, pack.channels) == ("piper-anna", {"speed": "1.5"}, 1)
    assert {name: path.name for name, path in pack.files.items()} == {"de.onnx": "de.onnx", "de.json": "de.json"}


def test_a_file_has_the_role_that_the_metadata_gives_it_and_no_other(tmp_path):
    entries = f"files: {{model.onnx: {{path: de.onnx, sha256: {SHA256}}}, seed.wav: ref/a.wav}}\n"
    folder = write(tmp_path, METADATA + entries, de__onnx="x", config__json="{}")
    (folder / "ref").mkdir()
    (folder / "ref" / "a.wav").touch()
    pack = read_pack(folder)
    assert pack.files == {
        "model.onnx": folder / "de.onnx",
        "seed.wav": folder / "ref" / "a.wav",
        "config.json": folder / "config.json",
    }
    assert pack.checksums == {"model.onnx": SHA256}


def test_a_file_of_an_installed_package(tmp_path, monkeypatch):
    (tmp_path / "site" / "some_voice").mkdir(parents=True)
    (tmp_path / "site" / "some_voice" / "model.onnx").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site")])
    folder = write(tmp_path / "packs", METADATA + "files: {m: 'package://some_voice/model.onnx'}\n")
    assert read_pack(folder).files == {"m": tmp_path / "site" / "some_voice" / "model.onnx"}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("family: [", r"voice pack .*piper/anna/metadata\.yaml, line 2, column 1: not valid YAML"),
        (METADATA.replace("anna", "berta"), "it says family 'piper' and model_id 'berta'.*both must agree"),
        (METADATA + "files: {model.onnx: none.onnx}\n", "model.onnx: there is no file none.onnx"),
        (METADATA + "files: {model.onnx: folder}\n", "model.onnx: folder is no regular file"),
        (METADATA + "files: {model.onnx: pipe}\nsource: s\n", "model.onnx: pipe is no regular file"),
        (METADATA + "files: {m: 'package://no_such_package/x'}\n", "Python package 'no_such_package', which is not"),
        (METADATA + "files: {m: 'package://ttsw/nothing'}\n", "there is no file package://ttsw/nothing"),
        (METADATA + "files: {m: {path: short, bytes: 9}}\n", "m: short has 1 bytes, and 9 in the metadata"),
    ],
)
def test_faults_say_what_is_wrong(tmp_path, text, fault):
    folder = write(tmp_path, text, short="x")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    with pytest.raises(PackError, match=fault):
        read_pack(folder)


# --- what is still to come


def test_a_pack_whose_files_are_to_be_downloaded_says_how(tmp_path):
    folder, store = write(tmp_path / "packs", with_url(63_201_294)), tmp_path / "files"
    with pytest.raises(PackIncompleteError) as caught:
        read_pack(folder, store)
    assert str(caught.value) == (
        "voice pack piper-anna has no weights yet: model.onnx (63 MB) is to be downloaded: ttsw voices pull piper-anna"
    )
    (missing,) = read_status(folder, store).downloads
    assert missing.path == store / SHA256 / "model.onnx"


def test_a_file_that_was_downloaded_is_the_packs(tmp_path):
    folder, store = write(tmp_path / "packs", with_url(4)), tmp_path / "files"
    (store / SHA256).mkdir(parents=True)
    (store / SHA256 / "model.onnx").write_text("cut")
    assert read_status(folder, store).missing
    (store / SHA256 / "model.onnx").write_text("full")
    assert read_pack(folder, store).files == {"model.onnx": store / SHA256 / "model.onnx"}


def test_files_are_downloaded_to_the_users_own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (missing,) = read_status(write(tmp_path / "packs", with_url())).missing
    assert missing.path == tmp_path / "data" / "ttsw" / "files" / SHA256 / "model.onnx"


def test_a_template_says_what_to_put_where(tmp_path):
    text = METADATA + "source: from somewhere\nfiles: {model.onnx: model.onnx, seed.wav: ref/seed.wav}\n"
    folder = write(tmp_path, text)
    with pytest.raises(
        PackIncompleteError, match=f"put model.onnx and ref/seed.wav into {folder}; see source: from so"
    ):
        read_pack(folder)
    (folder / "model.onnx").touch()
    with pytest.raises(PackIncompleteError, match=r"lacks files: put ref/seed\.wav into"):
        read_pack(folder)
    (folder / "ref").mkdir()
    (folder / "ref" / "seed.wav").touch()
    assert set(read_pack(folder).files) == {"model.onnx", "seed.wav"}


def test_a_template_of_many_files_names_some(tmp_path):
    files = ", ".join(f"f{number}: f{number}" for number in range(9))
    with pytest.raises(PackIncompleteError, match="put f0, f1, f2, f3, f4 and 4 more files into"):
        read_pack(write(tmp_path, f"{METADATA}source: s\nfiles: {{{files}}}\n"))


# --- links


@pytest.mark.parametrize("entries", ["", "files: {model.onnx: link}\n", "files: {model.onnx: folder/secret}\n"])
def test_a_link_out_of_the_voice_packs_is_refused(tmp_path, entries):
    (tmp_path / "secret").write_text("x", "utf-8")
    folder = write(tmp_path / "packs", METADATA + entries)
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "folder").symlink_to(tmp_path)
    with pytest.raises(PackError, match=f"leads out of {tmp_path}/packs; copy what it leads to"):
        read_pack(folder)


@pytest.mark.parametrize("link", ["piper", "piper/anna", "piper/anna/metadata.yaml"])
def test_a_pack_that_is_a_link_out_of_the_voice_packs_is_refused(tmp_path, link):
    write(tmp_path / "elsewhere")
    path = tmp_path / "packs" / link
    path.parent.mkdir(parents=True)
    path.symlink_to(tmp_path / "elsewhere" / link)
    with pytest.raises(PackError, match="leads out of"):
        read_pack(tmp_path / "packs" / "piper" / "anna")


def test_a_link_to_another_pack_is_followed(tmp_path):
    write(tmp_path, METADATA.replace("anna", "berta"), "piper/berta", model__onnx="x")
    folder = write(tmp_path)
    (folder / "model.onnx").symlink_to(tmp_path / "piper" / "berta" / "model.onnx")
    assert set(read_pack(folder).files) == {"model.onnx"}


def test_the_folder_of_voice_packs_may_itself_be_a_link(tmp_path):
    write(tmp_path / "disk", model__onnx="x")
    (tmp_path / "packs").symlink_to(tmp_path / "disk")
    assert read_pack(tmp_path / "packs" / "piper" / "anna").files


@pytest.mark.parametrize("target", ["nowhere", "link"])
def test_a_link_to_nothing_is_a_fault(tmp_path, target):
    folder = write(tmp_path)
    (folder / "link").symlink_to(folder / target)
    with pytest.raises(PackError, match=r"cannot be read: .*link"):
        read_pack(folder)


def test_sizes_are_said_to_people():
    assert [size_text(size) for size in (0, 999, 1_000, 10_000, 9_940_000_000)] == [
        "0 bytes",
        "999 bytes",
        "1.0 kB",
        "10 kB",
        "9.9 GB",
    ]
