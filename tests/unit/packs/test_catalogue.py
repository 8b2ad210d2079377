"""All packs: which one an id means, and what is noticed when they change."""

import errno
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.unit.packs.test_reader import METADATA, SHA256, with_url, write
from ttsw.config import shipped_dir, yaml_file
from ttsw.errors import NotFoundError
from ttsw.packs import catalogue as module
from ttsw.packs.catalogue import Catalogue, CatalogueReader, open_catalogue, own_folder, read_catalogue
from ttsw.packs.reader import PackError, PackIncompleteError
from ttsw.types import VoicePack


def named(name):
    return METADATA.replace("anna", name)


def test_of_the_shipped_packs_none_is_broken_and_some_lack_weights():
    shelf = read_catalogue(shipped_dir("voicepacks"))
    assert set(shelf.broken) == set(shelf.incomplete)
    assert {"mock-440hz", "piper-en-us-joe-medium"} <= set(shelf.packs)
    templates = {"cosyvoice2-en-base", "piper-en-us-lessac-medium", "sesame-csm-1b", "xtts-v2-en-demo"}
    assert templates <= {*shelf.incomplete, *shelf.packs}


def test_a_broken_pack_is_named_with_its_fault_and_hides_no_other(tmp_path):
    write(tmp_path)
    write(tmp_path, "family: [", "piper/bad")
    shelf = read_catalogue(tmp_path)
    assert list(shelf.packs) == ["piper-anna"]
    with pytest.raises(PackError, match=r"bad.metadata\.yaml, line 2, column 1: not valid YAML"):
        shelf["piper-bad"]
    with pytest.raises(NotFoundError, match="no model 'x'; there are: piper-anna"):
        shelf["x"]
    assert shelf.folders == {"piper-anna": tmp_path / "piper/anna", "piper-bad": tmp_path / "piper/bad"}


@pytest.mark.parametrize(("number", "passes"), [(errno.EMFILE, True), (errno.EIO, True), (errno.EISDIR, False)])
def test_a_fault_of_the_machine_is_over_when_it_is_over(tmp_path, monkeypatch, number, passes):
    """No file changes when other files are closed; so a pack would stay broken until somebody touches it."""
    write(tmp_path)

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as lacking:
        lacking.setattr(yaml_file.os, "open", fail)
        library = CatalogueReader(tmp_path)
        assert f"cannot be read: {os.strerror(number)}" in library.catalogue.broken["piper-anna"]
        shelf = library.catalogue
        assert library.refresh() is shelf
    assert ("piper-anna" in library.refresh().packs) is passes


def test_a_pack_that_lacks_files_is_told_apart(tmp_path):
    write(tmp_path, with_url())
    shelf = read_catalogue(tmp_path, store=tmp_path / "files")
    assert list(shelf.incomplete) == list(shelf.broken) == ["piper-anna"]
    with pytest.raises(PackIncompleteError, match="ttsw voices pull piper-anna"):
        shelf["piper-anna"]


def test_a_shelf_is_made_of_two_mappings():
    pack = VoicePack("f", "a", shipped_dir("voicepacks"))
    assert Catalogue({"f-a": pack}, {})["f-a"] is pack


def test_of_very_many_models_the_likeliest_are_named():
    pack = VoicePack("f", "a", shipped_dir("voicepacks"))
    shelf = Catalogue({f"piper-voice-{number}": pack for number in range(1_000)}, {})
    with pytest.raises(NotFoundError, match=r"piper-voice-77, .*… \(1000 in all\)$") as caught:
        shelf["piper-voice77"]
    assert len(str(caught.value)) < 200


def test_a_missing_folder_is_an_empty_shelf(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotFoundError, match="there are: none"):
        read_catalogue(tmp_path / "nowhere", tmp_path / "file")["x"]


def test_of_two_packs_with_one_id_the_later_folders_counts(tmp_path):
    write(tmp_path / "ours")
    write(tmp_path / "ours", named("berta"), "piper/berta")
    write(tmp_path / "ours", METADATA.replace("piper", "a").replace("anna", "b-c"), "a/b-c")
    write(tmp_path / "theirs", METADATA.replace("1.5", "2"))
    write(tmp_path / "theirs", "family: [", "piper/berta")
    write(tmp_path / "theirs", METADATA.replace("piper", "a-b").replace("anna", "c"), "a-b/c")
    shelf = read_catalogue(tmp_path / "ours", tmp_path / "theirs", tmp_path / "nowhere")
    assert shelf["piper-anna"].options == {"speed": "2"}
    assert list(shelf.broken) == ["piper-berta"]
    assert shelf["a-b-c"].family == "a-b"


def test_of_two_packs_with_one_id_in_one_folder_neither_counts(tmp_path):
    write(tmp_path)
    write(tmp_path, METADATA.replace("piper", "a-b").replace("anna", "c"), "a-b/c")
    write(tmp_path, METADATA.replace("piper", "a").replace("anna", "b-c"), "a/b-c")
    shelf = read_catalogue(tmp_path)
    assert list(shelf.packs) == ["piper-anna"]
    assert f"two packs have this id: {tmp_path}/a/b-c and {tmp_path}/a-b/c; rename one" in shelf.broken["a-b-c"]
    assert "a-b-c" not in shelf.folders


def test_what_is_no_pack_is_left_alone(tmp_path):
    write(tmp_path)
    write(tmp_path, where=".adding-1/anna")
    write(tmp_path, where="piper/.hidden")
    (tmp_path / "piper" / "empty").mkdir()
    (tmp_path / "README").touch()
    shelf = read_catalogue(tmp_path)
    assert (list(shelf.packs), shelf.broken) == (["piper-anna"], {})


def test_odd_folders_are_named_so_that_it_can_be_written_anywhere(tmp_path):
    write(tmp_path, where="piper/ä\n\x1b[31m")
    write(tmp_path, where=os.fsdecode(b"piper/\xff"))
    (tmp_path / "piper" / "loop").symlink_to(tmp_path / "piper" / "loop")
    shelf = read_catalogue(tmp_path)
    assert set(shelf.broken) == {"piper-ä\ufffd\ufffd[31m", "piper-\ufffd", "piper-loop"}
    for fault in shelf.broken.values():
        assert fault.isprintable()
        fault.encode()


def test_a_folder_that_cannot_be_read_is_named_and_hides_no_other(tmp_path, monkeypatch):
    write(tmp_path)
    write(tmp_path, where="locked/anna")
    scandir = os.scandir

    def refuse(path):
        if "locked" in str(path):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(module.os, "scandir", refuse)
    shelf = read_catalogue(tmp_path)
    assert list(shelf.packs) == ["piper-anna"]
    assert shelf.broken == {"locked": f"the voice packs in {tmp_path}/locked cannot be read: Permission denied"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_pack_without_permission_is_broken(tmp_path):
    folder = write(tmp_path)
    folder.chmod(0)
    try:
        assert "cannot be read: Permission denied" in read_catalogue(tmp_path).broken["piper-anna"]
    finally:
        folder.chmod(0o700)


# --- what changes


@pytest.fixture
def library(tmp_path):
    write(tmp_path / "packs", model__onnx="x")
    write(tmp_path / "packs", named("berta"), "piper/berta")
    return CatalogueReader(tmp_path / "packs", store=tmp_path / "files")


@pytest.fixture
def surveys(monkeypatch):
    """The folders that are read."""
    names = []
    survey = module.read_status

    def watch(folder, *rest):
        names.append(folder.name)
        return survey(folder, *rest)

    monkeypatch.setattr(module, "read_status", watch)
    return names


def test_what_has_not_changed_is_not_read_again(library, surveys):
    before = library.catalogue
    assert library.refresh() is before
    assert surveys == []


def test_a_pack_that_comes_and_goes_is_noticed(library, tmp_path, surveys):
    folder = write(tmp_path / "packs", named("carla"), "piper/carla")
    assert set(library.refresh().packs) == {"piper-anna", "piper-berta", "piper-carla"}
    (folder / "metadata.yaml").unlink()
    assert set(library.refresh().packs) == {"piper-anna", "piper-berta"}
    write(tmp_path / "packs", METADATA.replace("piper", "hibari"), "hibari/anna")
    assert "hibari-anna" in library.refresh().packs
    assert surveys == ["carla", "anna"]


def test_a_pack_that_breaks_and_is_mended_is_noticed(library, tmp_path, surveys):
    metadata = tmp_path / "packs" / "piper" / "berta" / "metadata.yaml"
    metadata.write_text("family: [")
    assert list(library.refresh().broken) == ["piper-berta"]
    metadata.write_text(named("berta"))
    assert library.refresh().broken == {}
    assert surveys == ["berta", "berta"]


def test_a_change_of_the_same_size_and_time_is_noticed(library, tmp_path):
    metadata = tmp_path / "packs" / "piper" / "anna" / "metadata.yaml"
    times = metadata.stat()
    metadata.write_text(METADATA.replace("1.5", "2.5"))
    os.utime(metadata, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert library.refresh()["piper-anna"].options == {"speed": "2.5"}


def test_files_that_come_and_go_are_noticed(library, tmp_path):
    folder = tmp_path / "packs" / "piper" / "anna"
    (folder / "voice.json").touch()
    assert set(library.refresh()["piper-anna"].files) == {"model.onnx", "voice.json"}
    (folder / "metadata.yaml").write_text(METADATA + "files: {a: ref/a}\n")
    assert "there is no file ref/a" in library.refresh().broken["piper-anna"]
    (folder / "ref").mkdir()
    (folder / "ref" / "a").touch()
    assert "a" in library.refresh()["piper-anna"].files


def test_a_download_that_ends_is_noticed(library, tmp_path):
    (tmp_path / "packs" / "piper" / "berta" / "metadata.yaml").write_text(with_url(4).replace("anna", "berta"))
    assert set(library.refresh().incomplete) == {"piper-berta"}
    (tmp_path / "files" / SHA256).mkdir(parents=True)
    (tmp_path / "files" / SHA256 / "model.onnx").write_text("full")
    assert library.refresh().incomplete == {}


def test_a_package_that_is_installed_is_noticed(library, tmp_path, monkeypatch):
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    metadata = tmp_path / "packs" / "piper" / "berta" / "metadata.yaml"
    metadata.write_text(f"{named('berta')}files: {{m: 'package://a_voice_to_come/m'}}\n")
    assert "a_voice_to_come" in library.refresh().broken["piper-berta"]
    (site / "a_voice_to_come").mkdir()
    (site / "a_voice_to_come" / "m").touch()
    assert "m" in library.refresh()["piper-berta"].files


def test_a_shelf_that_was_given_never_changes(library, tmp_path):
    before = library.catalogue
    (tmp_path / "packs" / "piper" / "anna" / "metadata.yaml").unlink()
    assert "piper-anna" not in library.refresh().packs
    assert "piper-anna" in before.packs


def test_many_threads_may_refresh(library, tmp_path):
    with ThreadPoolExecutor(8) as pool:
        shelves = [pool.submit(library.refresh) for _ in range(50)]
        write(tmp_path / "packs", named("carla"), "piper/carla")
        for shelf in shelves:
            assert {"piper-anna", "piper-berta"} <= set(shelf.result().packs)
    assert "piper-carla" in library.refresh().packs


def test_a_thousand_packs_are_looked_at_fast_when_nothing_has_changed(tmp_path):
    for number in range(1_000):
        write(tmp_path, named(f"v{number}"), f"piper/v{number}", model__onnx="x")
    library = CatalogueReader(tmp_path)
    assert len(library.catalogue.packs) == 1_000
    times = []
    for _ in range(5):
        started = time.perf_counter()
        library.refresh()
        times.append(time.perf_counter() - started)
    assert min(times) < 0.2  # 0.015 on an idle machine


def test_the_users_packs_are_in_their_folder_unless_it_is_configured(tmp_path):
    environ = {"XDG_DATA_HOME": str(tmp_path)}
    write(tmp_path / "ttsw" / "voicepacks")
    write(tmp_path / "mine", named("berta"), "piper/berta")
    assert own_folder(None, environ) == tmp_path / "ttsw" / "voicepacks"
    assert {"piper-anna", "piper-en-us-joe-medium"} <= set(open_catalogue(None, environ).catalogue.packs)
    shelf = open_catalogue(tmp_path / "mine", environ).catalogue
    assert "piper-berta" in shelf.packs
    assert "piper-anna" not in shelf.packs


def test_a_pack_whose_package_is_not_installed_is_incomplete(tmp_path):
    folder = tmp_path / "piper" / "anna"
    folder.mkdir(parents=True)
    (folder / "metadata.yaml").write_text(
        "family: piper\nmodel_id: anna\naudio: {sample_rate: 22050}\nlanguages: [de]\n"
        "files: {model.onnx: 'package://no_such_package/x.onnx'}\n"
    )
    shelf = read_catalogue(tmp_path)
    assert shelf.incomplete["piper-anna"].pack.languages == ("de",)
    with pytest.raises(
        PackIncompleteError, match=r"'no_such_package', which is not installed; .*-m pip install .*\[piper\]"
    ):
        shelf["piper-anna"]
