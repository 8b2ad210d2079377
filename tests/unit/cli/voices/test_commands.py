"""`ttsw voices`, command by command, on packs of a folder of the test's own."""

import hashlib
import json
import re
from functools import partial
from types import SimpleNamespace

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tests.tls_server import authority, open_server, ranged
from tests.unit.packs.test_reader import METADATA, write
from ttsw.cli.voices import commands as module
from ttsw.cli.voices.commands import voices_app
from ttsw.cli.voices.pack_list import PackState, open_packs
from ttsw.errors import AlreadyExistsError, FailedPreconditionError, InvalidArgumentError, NotFoundError
from ttsw.packs.download import Downloader
from ttsw.packs.reader import PackError, PackIncompleteError

CONTENT = b"weights" * 10_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MOCK = "family: mock\nmodel_id: {0}\naudio: {{sample_rate: 48000}}\nlanguages: [en]\nlicense: CC0-1.0\n"


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "ttsw" / "voicepacks"


@pytest.fixture
def run(monkeypatch):
    def run(*arguments, code=0, stdin=None):
        result = CliRunner().invoke(voices_app, [str(argument) for argument in arguments], input=stdin)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    monkeypatch.setattr(module, "out", Console(width=250, highlight=False))
    return run


@pytest.fixture
def tone(own):
    """A pack that is whole."""
    folder = write(own, MOCK.format("tone"), "mock/tone", notes__txt="a file")
    sha256 = hashlib.sha256(b"a file").hexdigest()
    with (folder / "metadata.yaml").open("a") as file:
        file.write(f"files: {{notes.txt: {{path: notes.txt, sha256: {sha256}}}}}\n")
    return folder


@pytest.fixture
def server(tmp_path, monkeypatch):
    authority().cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    with open_server(ranged(CONTENT)) as server:
        yield server


@pytest.fixture
def remote(own, server):
    """A pack whose weights are to be downloaded."""
    entry = f"{{url: '{server.url}', sha256: {SHA256}, bytes: {len(CONTENT)}}}"
    return write(own, MOCK.format("remote") + f"files: {{model.onnx: {entry}}}\n", "mock/remote")


# --- list and show


@pytest.mark.usefixtures("tone", "remote")
def test_packs_are_listed_with_their_state(run, own):
    write(own, "family: [", "piper/bad")
    write(own, METADATA + "source: s\nfiles: {m: m}\n")
    said = run("list").stdout
    rows = {line.split()[0]: line for line in said.splitlines()}
    assert rows["mock-tone"].split() == [
        "mock-tone",
        "mock",
        "en",
        "48",
        "kHz",
        "6",
        "bytes",
        "CC0-1.0",
        "usable",
        "own",
    ]
    assert (
        rows["mock-remote"]
        .rstrip()
        .endswith("70 kB    CC0-1.0                                      to be downloaded  own")
    )
    assert rows["piper-bad"].split() == ["piper-bad", "piper", "broken", "own"]
    assert rows["piper-anna"].split()[-2:] == ["incomplete", "own"]
    assert rows["mock-440hz"].split()[-2:] == ["usable", "shipped"]
    assert "broken: voice pack" in said
    assert "to be downloaded: voice pack mock-remote has no weights yet: model.onnx (70 kB) is to be" in said


@pytest.mark.usefixtures("tone", "remote")
def test_packs_are_listed_for_programs(run, own):
    rows = {row["model_id"]: row for row in json.loads(run("list", "--json").stdout)}
    assert rows["mock-tone"]["state"] == "usable"
    assert rows["mock-tone"]["files"] == {"notes.txt": str(own / "mock" / "tone" / "notes.txt")}
    assert (rows["mock-remote"]["state"], rows["mock-remote"]["size_bytes"]) == ("to be downloaded", len(CONTENT))
    assert rows["mock-remote"]["fault"].endswith("ttsw voices pull mock-remote")


def test_everything_of_a_pack_is_shown(run, tone):
    said = run("show", "mock-tone").stdout
    for words in ("mock-tone", "usable", str(tone), "48000", "CC0-1.0", "notes.txt: ", "streaming"):
        assert words in said
    with pytest.raises(NotFoundError, match=r"no voice pack 'x'; there are: .*mock-440hz, mock-tone"):
        run("show", "x")


def test_markup_in_a_pack_is_shown_as_it_is(run, own):
    write(own, MOCK.format("odd") + "source: '[bold]x[/] [/red]'\n", "mock/odd")
    assert "[bold]x[/] [/red]" in run("show", "mock-odd").stdout


def test_packs_are_those_of_the_configuration(run, tmp_path):
    write(tmp_path / "mine", MOCK.format("mine"), "mock/mine")
    (tmp_path / "worker.yaml").write_text(f"model_manager: {{voicepacks_dir: {tmp_path}/mine}}\n")
    assert "mock-mine" in run("list", "--config", tmp_path / "worker.yaml").stdout


# --- check


@pytest.mark.usefixtures("tone")
def test_a_good_pack_is_read_loaded_and_spoken(run):
    said = run("check", "mock-tone").stdout
    assert said.startswith("mock-tone: good: 1 file, 6 bytes, 1 with the right checksum; loaded in ")
    assert said.rstrip().endswith("LUFS")
    assert re.search(r"of audio at 48000 Hz, RTF \d\.\d", said)


def test_a_pack_is_checked_by_its_folder(run, tone, tmp_path, monkeypatch):
    monkeypatch.chdir(tone.parent)
    assert run("check", "--no-load", "tone").stdout == ("mock-tone: good: 1 file, 6 bytes, 1 with the right checksum\n")
    other = write(tmp_path / "elsewhere", MOCK.format("other"), "mock/other")
    assert run("check", "--no-load", other).stdout == "mock-other: good: no files\n"
    with pytest.raises(NotFoundError, match=r"there is no folder \./nothing"):
        run("check", "./nothing")


def test_a_file_that_is_another_is_told(run, tone):
    (tone / "notes.txt").write_text("other")
    said = run("check", "mock-tone", code=1).stdout
    assert f"mock-tone: broken: voice pack {tone}: {tone}/notes.txt is not the file that the pack describes" in said


@pytest.mark.usefixtures("tone", "remote")
def test_of_all_packs_a_broken_one_makes_the_check_fail_and_one_without_weights_does_not(run, own):
    said = run("check", "--no-load").stdout
    assert "mock-remote: incomplete: voice pack mock-remote has no weights yet" in said
    assert "mock-tone: good" in said
    run("check", "--no-load", "mock-remote", code=1)
    write(own, "family: [", "piper/bad")
    assert "piper-bad: broken: " in run("check", "--no-load", code=1).stdout
    assert "bad: broken: " in run("check", own / "piper" / "bad", code=1).stdout


def test_a_pack_that_cannot_be_loaded_is_told(run, own):
    write(own, MOCK.format("odd") + "options: {no_such: 1}\n", "mock/odd")
    assert "mock-odd: broken: unknown option 'no_such'" in run("check", "mock-odd", code=1).stdout


# --- add and remove


def test_a_pack_is_added_checked_and_removed(run, own, tmp_path):
    given = write(tmp_path / "given", MOCK.format("tone"), "any/where")
    result = run("add", given)
    assert f"mock-tone: added as {own}/mock/tone\nmock-tone: good: no files; loaded in" in result.stdout
    with pytest.raises(AlreadyExistsError, match="there is a voice pack"):
        run("add", given)
    run("add", given, "--replace", "--no-check")
    assert run("add", given, "--id", "other", "--no-check", "--move").stdout.startswith("mock-other: added as")
    assert not given.exists()
    assert run("remove", "mock-tone", "--yes").stdout == "mock-tone: removed\n"
    assert not (own / "mock" / "tone").exists()


def test_a_pack_in_the_place_of_a_shipped_one_is_told(run, tmp_path):
    given = write(tmp_path / "given", MOCK.format("440hz"), "any/where")
    assert "it is used in the place of the shipped pack mock-440hz" in run("add", given, "--no-check").stderr


def test_a_pack_that_lacks_weights_is_added_with_what_to_do(run, remote, tmp_path):
    result = run("add", remote, "--id", "copy")
    assert "ttsw voices pull mock-copy" in result.stderr


def test_a_pack_that_does_not_speak_is_added_and_told(run, tmp_path):
    given = write(tmp_path / "given", MOCK.format("odd") + "options: {no_such: 1}\n", "any/where")
    result = run("add", given, code=1)
    assert "mock-odd: broken: unknown option" in result.stdout
    assert "ttsw voices remove mock-odd takes it away" in result.stderr


def test_a_piper_voice_is_added(run, own, tmp_path):
    pytest.importorskip("onnx", reason="it comes with the extra `piper`, which is not installed")
    from tests.tiny_piper import tiny_bytes  # noqa: PLC0415 - needs it

    (tmp_path / "de_DE-anna-low.onnx").write_bytes(tiny_bytes())
    (tmp_path / "de_DE-anna-low.onnx.json").write_text(
        '{"audio": {"sample_rate": 16000}, "phoneme_type": "text", "phoneme_id_map": {"_": [0], "^": [1], "$": [2]}}'
    )
    run("add", tmp_path / "de_DE-anna-low.onnx", "--license", "MIT", "--no-check")
    assert (own / "piper" / "de-de-anna-low" / "model.onnx").is_file()
    assert "MIT" in run("show", "piper-de-de-anna-low").stdout


@pytest.mark.usefixtures("tone")
def test_a_shipped_pack_is_not_removed_and_nobody_is_asked_who_is_not_there(run, own):
    with pytest.raises(FailedPreconditionError, match=f"mock-440hz is shipped with ttsw; only packs in {own} can be"):
        run("remove", "mock-440hz", "--yes")
    with pytest.raises(InvalidArgumentError, match="give --yes"):
        run("remove", "mock-tone")


def test_a_pack_is_removed_by_who_agrees(run, tone, monkeypatch):
    monkeypatch.setattr(module, "sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    run("remove", "mock-tone", stdin="n\n", code=1)
    assert tone.exists()
    run("remove", "mock-tone", stdin="y\n")
    assert not tone.exists()


def test_two_packs_with_one_id_are_not_removed(run, own):
    write(own, METADATA.replace("piper", "a-b").replace("anna", "c"), "a-b/c")
    write(own, METADATA.replace("piper", "a").replace("anna", "b-c"), "a/b-c")
    with pytest.raises(FailedPreconditionError, match="two packs have this id"):
        run("remove", "a-b-c", "--yes")


# --- pull


@pytest.mark.usefixtures("remote")
def test_what_a_pack_lacks_is_downloaded_and_removed_with_it(run, tmp_path, server):
    result = run("pull", "mock-remote")
    assert result.stdout == "mock-remote: usable\n"
    assert "mock-remote: licence: CC0-1.0" in result.stderr
    assert f"downloading model.onnx (70 kB) from {server.url}" in result.stderr
    file = tmp_path / "data" / "ttsw" / "files" / SHA256 / "model.onnx"
    assert file.read_bytes() == CONTENT
    assert run("pull", "mock-remote").stdout == "mock-remote: usable\n"
    assert run("remove", "mock-remote", "--yes").stdout == (
        "mock-remote: removed, with 70 kB that were downloaded for it\n"
    )
    assert not file.exists()


@pytest.mark.usefixtures("remote")
def test_all_that_can_be_downloaded_is(run, monkeypatch):
    pulled = []
    monkeypatch.setattr(module, "_pull", lambda _packs, draft: pulled.append(draft.pack.model_id))
    with pytest.raises(PackIncompleteError):  # as nothing was downloaded
        run("pull", "--all")
    assert pulled == ["mock-remote"]


def test_what_cannot_be_downloaded_is_told(run, own):
    write(own, "family: [", "piper/bad")
    with pytest.raises(PackError, match="not valid YAML"):
        run("pull", "piper-bad")
    with pytest.raises(PackIncompleteError, match=r"put model\.pth"):
        run("pull", "xtts-v2-en-demo")
    for arguments in ((), ("x", "--all")):
        with pytest.raises(InvalidArgumentError, match="name the voice packs to download, or give --all"):
            run("pull", *arguments)


@pytest.mark.usefixtures("remote")
def test_a_download_that_is_interrupted_can_be_gone_on_with(run, monkeypatch, server, tmp_path):
    part = tmp_path / "data" / "ttsw" / "files" / f"{SHA256}.part"

    def interrupt(_seconds):
        raise KeyboardInterrupt

    server.answers = [ranged(CONTENT, 30_000), ranged(CONTENT)]
    with monkeypatch.context() as patch:
        patch.setattr(module, "Downloader", partial(Downloader, sleep=interrupt))
        said = run("pull", "mock-remote", code=130).stderr
    assert "stopped; what has come is kept, and ttsw voices pull mock-remote goes on from there" in said
    assert part.stat().st_size == 30_000
    run("pull", "mock-remote")
    assert server.asked == [None, "bytes=30000-"]


# --- what is behind


@pytest.mark.usefixtures("tone", "remote")
def test_a_packs_state_is_known(own):
    write(own, "family: [", "piper/bad")
    packs = open_packs(None)
    assert [packs.state(key) for key in ("mock-tone", "mock-remote", "piper-bad", "xtts-v2-en-demo")] == [
        PackState.USABLE,
        PackState.TO_DOWNLOAD,
        PackState.BROKEN,
        PackState.INCOMPLETE,
    ]
    assert packs.describe("piper-bad")["family"] == "piper"
