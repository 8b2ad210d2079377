"""Packs that are removed, and their downloads."""

import pytest

from tests.unit.packs.test_reader import METADATA, SHA256, with_url, write
from ttsw.errors import UnavailableError
from ttsw.packs import removal as module
from ttsw.packs.removal import remove_pack


@pytest.fixture
def store(tmp_path):
    (tmp_path / "files" / SHA256).mkdir(parents=True)
    (tmp_path / "files" / SHA256 / "model.onnx").write_text("full")
    return tmp_path / "files"


def test_a_pack_goes_with_what_was_downloaded_for_it(tmp_path, store):
    folder = write(tmp_path / "own", with_url())
    assert remove_pack(folder, store, []) == 4
    assert not folder.exists()
    assert list(store.iterdir()) == []
    assert [path.name for path in (tmp_path / "own").iterdir()] == ["piper"]


def test_what_others_use_stays(tmp_path, store):
    assert remove_pack(write(tmp_path / "own", with_url()), store, [SHA256]) == 0
    assert (store / SHA256 / "model.onnx").exists()


def test_a_broken_pack_can_be_removed(tmp_path, store):
    folder = write(tmp_path / "own", "family: [")
    assert remove_pack(folder, store, []) == 0
    assert not folder.exists()


def test_of_a_link_only_the_link_goes(tmp_path, store):
    elsewhere = write(tmp_path / "elsewhere")
    link = tmp_path / "own" / "piper" / "anna"
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    remove_pack(link, store, [])
    assert not link.is_symlink()
    assert (elsewhere / "metadata.yaml").read_text() == METADATA


def test_what_cannot_be_removed_is_said(tmp_path, store, monkeypatch):
    folder = write(tmp_path / "own")

    def refuse(*_):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(module.Path, "rename", refuse)
    with pytest.raises(UnavailableError, match="anna cannot be removed: Permission denied"):
        remove_pack(folder, store, [])
    assert folder.exists()
