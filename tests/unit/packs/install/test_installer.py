"""Packs that are added: whole, in their place, or not at all."""

import errno
import hashlib
import json
import os
import shutil

import pytest
import yaml

pytest.importorskip("onnx", reason="it comes with the extra `piper`, which is not installed")

from tests.tiny_piper import tiny_bytes
from tests.unit.packs.test_reader import METADATA, with_url, write
from ttsw.errors import (
    AlreadyExistsError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)
from ttsw.packs.install import installer as module
from ttsw.packs.install.installer import PackInstaller

CONFIG = {
    "audio": {"sample_rate": 22_050, "quality": "medium"},
    "language": {"family": "en"},
    "num_speakers": 1,
    "phoneme_type": "text",
    "phoneme_id_map": {"_": [0], "^": [1], "$": [2]},
}


@pytest.fixture
def root(tmp_path):
    return tmp_path / "own"


@pytest.fixture
def add(root, tmp_path):
    return lambda source, **how: PackInstaller(root, tmp_path / "files", **how).add(source)


@pytest.fixture
def pack(tmp_path):
    folder = write(tmp_path / "given", f"# a comment\n{METADATA}", "somewhere/voice", model__onnx="weights")
    (folder / "ref").mkdir()
    (folder / "ref" / "seed.wav").write_text("audio")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").touch()
    return folder


@pytest.fixture
def voice(tmp_path):
    model = tmp_path / "de_DE-anna-medium.onnx"
    model.write_bytes(tiny_bytes())
    model.with_name(f"{model.name}.json").write_text(json.dumps(CONFIG))
    return model


def content(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def untouched(root):
    return not root.exists() or not [path for path in root.rglob("*") if path.is_file()]


def test_a_pack_is_copied_to_its_place(add, pack, root):
    steps = []
    draft = add(pack, progress=lambda done, total: steps.append((done, total)))
    assert draft.pack.model_id == "piper-anna"
    assert draft.pack.root == root / "piper" / "anna"
    assert content(root / "piper" / "anna") == {
        "metadata.yaml": f"# a comment\n{METADATA}",
        "model.onnx": "weights",
        "ref/seed.wav": "audio",
    }
    assert [path.name for path in root.iterdir()] == ["piper"]
    assert (root / "piper" / "anna").stat().st_mode & 0o777 == 0o777 & ~_umask()
    assert steps[-1][0] == steps[-1][1] == sum(len(text) for text in content(root).values())
    assert pack.exists()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("name", ["berta", "piper-berta"])
def test_a_pack_may_get_another_name_and_keeps_its_comments(add, pack, root, name):
    assert add(pack, name=name).pack.model_id == "piper-berta"
    text = (root / "piper" / "berta" / "metadata.yaml").read_text()
    assert text == f"# a comment\n{METADATA}".replace("anna", "berta")


@pytest.mark.parametrize("link", [True, False])
def test_a_pack_may_be_moved(add, pack, root, monkeypatch, link):
    inode = (pack / "model.onnx").stat().st_ino
    if not link:
        monkeypatch.setattr(module.Path, "hardlink_to", None)
        monkeypatch.setattr(module, "_one_disk", lambda _files, _folder: False)
    add(pack, move=True, name="berta")
    assert not pack.exists()
    moved = root / "piper" / "berta" / "model.onnx"
    assert moved.read_text() == "weights"
    assert (moved.stat().st_ino == inode) is link


def test_a_name_that_is_taken_is_refused(add, pack, root):
    add(pack)
    with pytest.raises(AlreadyExistsError, match=r"there is a voice pack .*/piper/anna; .* with --replace or --id"):
        add(pack)
    (pack / "model.onnx").write_text("better")
    add(pack, replace=True)
    assert (root / "piper" / "anna" / "model.onnx").read_text() == "better"
    assert [path.name for path in root.iterdir()] == ["piper"]
    with pytest.raises(AlreadyExistsError, match="is a voice pack of that folder already"):
        add(root / "piper" / "anna", replace=True, move=True)


def test_an_id_that_is_taken_by_another_family_is_refused(add, pack, root):
    write(root, METADATA.replace("piper", "piper-a").replace("anna", "b"), "piper-a/b")
    with pytest.raises(AlreadyExistsError, match=r"with the id piper-a-b, .*piper-a/b; add this one with --id"):
        add(pack, name="a-b")


@pytest.mark.parametrize("name", ["../../elsewhere", "A", "a b", "/etc", "."])
def test_a_name_that_is_none_is_refused(add, pack, root, name):
    with pytest.raises(InvalidArgumentError, match="is no name for a pack: it must be a-z and 0-9"):
        add(pack, name=name)
    assert untouched(root)


def test_a_broken_pack_is_refused_and_its_own_folder_named(add, pack, root):
    (pack / "metadata.yaml").write_text(f"{METADATA}files: {{a: none}}\n")
    with pytest.raises(InvalidArgumentError, match=f"voice pack {pack}: a: there is no file none"):
        add(pack)
    (pack / "metadata.yaml").write_text("family: [")
    with pytest.raises(InvalidArgumentError, match="not valid YAML"):
        add(pack)
    assert untouched(root)


def test_a_template_is_added_with_what_it_lacks(add, pack):
    (pack / "metadata.yaml").write_text(with_url())
    assert [one.role for one in add(pack).missing] == ["model.onnx"]


def test_what_a_link_leads_to_is_copied(add, pack, root, tmp_path):
    (tmp_path / "big.bin").write_text("big")
    (pack / "link.bin").symlink_to(tmp_path / "big.bin")
    add(pack)
    assert not (root / "piper" / "anna" / "link.bin").is_symlink()
    assert (root / "piper" / "anna" / "link.bin").read_text() == "big"


@pytest.mark.parametrize(
    "make", [os.mkfifo, lambda path: path.symlink_to("nowhere"), lambda path: path.symlink_to(path.parent)]
)
def test_what_is_no_file_is_refused(add, pack, root, make):
    make(pack / "odd")
    with pytest.raises(InvalidArgumentError, match="odd is no regular file"):
        add(pack)
    assert untouched(root)


def test_a_disk_that_is_too_small_is_said_before(add, pack, root, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _path: usage._replace(free=10))
    with pytest.raises(ResourceExhaustedError, match=r"are to be copied, and .* has 10 bytes free"):
        add(pack)
    assert untouched(root)


@pytest.mark.parametrize(
    ("number", "kind", "said"),
    [
        (errno.ENOSPC, ResourceExhaustedError, "the disk of .*own is full; nothing was added"),
        (errno.EIO, UnavailableError, "voice cannot be added: Input/output error"),
    ],
)
def test_a_disk_that_fails_meanwhile_leaves_nothing(add, pack, root, monkeypatch, *, number, kind, said):
    def fail(_descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module.os, "fsync", fail)
    with pytest.raises(kind, match=said):
        add(pack)
    assert untouched(root)


def test_a_replacement_that_fails_leaves_the_old(add, pack, root, monkeypatch):
    add(pack)
    rename = module.Path.rename

    def fail(path, target):
        if path.parent.parent.name.startswith(".adding-"):
            raise OSError(errno.EIO, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(module.Path, "rename", fail)
    with pytest.raises(UnavailableError):
        add(pack, replace=True)
    assert content(root / "piper" / "anna")["model.onnx"] == "weights"


# --- a Piper voice


@pytest.mark.parametrize("given", ["model", "config", "folder"])
def test_a_piper_voice_becomes_a_pack(add, voice, root, given, tmp_path):
    source = {"model": voice, "config": voice.with_name(f"{voice.name}.json"), "folder": tmp_path}[given]
    pack = add(source, licence="CC0-1.0").pack
    assert (pack.model_id, pack.sample_rate, pack.languages) == ("piper-de-de-anna-medium", 22_050, ("en",))
    assert (pack.license, pack.tags) == ("CC0-1.0", ("medium",))
    assert {role: path.name for role, path in pack.files.items()} == {
        "model.onnx": "model.onnx",
        "config.json": "config.json",
    }
    assert pack.checksums["model.onnx"] == hashlib.sha256(tiny_bytes()).hexdigest()
    assert voice.exists()


def test_a_piper_voice_may_be_moved_and_named(add, voice, root):
    assert add(voice, name="anna", move=True).pack.model_id == "piper-anna"
    assert not voice.exists()
    assert yaml.safe_load((root / "piper" / "anna" / "metadata.yaml").read_text())["license"] == "unknown"


def test_a_piper_voice_without_a_name_must_get_one(add, voice):
    for file in (voice, voice.with_name(f"{voice.name}.json")):
        file.rename(file.with_name(file.name.replace("de_DE-anna-medium", "声")))
    with pytest.raises(InvalidArgumentError, match="name it with --id"):
        add(voice.parent)
    assert add(voice.parent, name="koe").pack.model_id == "piper-koe"


def test_what_is_neither_is_refused(add, tmp_path, root):
    with pytest.raises(NotFoundError, match=r"there is no file or folder .*nothing"):
        add(tmp_path / "nothing")
    (tmp_path / "folder").mkdir()
    with pytest.raises(
        InvalidArgumentError,
        match=r"folder is no voice pack \(a folder with metadata.yaml\), no Pi.*no fine-tuned",
    ):
        add(tmp_path / "folder")
    assert untouched(root)


@pytest.fixture
def lora(tmp_path):
    folder = tmp_path / "My LoRA"
    folder.mkdir()
    config = {"peft_type": "LORA", "base_model_name_or_path": "unsloth/csm-1b", "r": 16, "lora_alpha": 32}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.safetensors").write_text("weights")
    (folder / "tokenizer.json").write_text("of no use")
    return folder


def test_a_lora_is_added_onto_the_model_that_it_was_trained_on(add, lora, root):
    draft = add(lora)
    assert (draft.pack.model_id, draft.pack.base) == ("sesame-my-lora", "sesame-csm-1b")
    assert sorted(draft.pack.files) == ["adapter_config.json", "adapter_model.safetensors"]
    assert draft.pack.capabilities.lora
    assert draft.pack.checksums["adapter_model.safetensors"] == hashlib.sha256(b"weights").hexdigest()


def test_the_base_of_a_lora_can_be_named_and_must_be_where_it_is_unclear(add, lora):
    assert add(lora, name="anna", base="sesame-tiny").pack.base == "sesame-tiny"
    (lora / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "base_model_name_or_path": None, "r": 1, "lora_alpha": 1})
    )
    with pytest.raises(InvalidArgumentError, match="name the model that it is based on with --base, for example"):
        add(lora)
    with pytest.raises(InvalidArgumentError, match="base: 'X' is not valid: must be the full id of a model"):
        add(lora, base="X")


def test_a_lora_that_moves_leaves_what_it_doesnt_need(add, lora):
    add(lora, move=True)
    assert [path.name for path in lora.iterdir()] == ["tokenizer.json"]
