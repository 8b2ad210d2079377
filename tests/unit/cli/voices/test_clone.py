"""`ttsw voices clone`, `clips` and `unclone`."""

import json

import numpy as np
import pytest
import soundfile
import typer
from rich.console import Console
from typer.testing import CliRunner

from tests.unit.packs.test_reference_audio import RATE, tone
from ttsw.cli.voices import clone as module
from ttsw.cli.voices.clone import clips, clone, unclone
from ttsw.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError

app = typer.Typer()
for command in (clone, clips, unclone):
    app.command()(command)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "ttsw" / "clips"


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setattr(module, "out", Console(width=250, highlight=False))

    def run(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result

    return run


@pytest.fixture
def recording(tmp_path):
    def record(samples, rate=RATE):
        path = tmp_path / "recording.wav"
        soundfile.write(path, samples, rate, "PCM_24")
        return path

    return record


def test_a_recording_is_registered_and_its_use_told(run, folder, recording):
    result = run("clone", "anna", recording(np.stack([tone(), tone()], axis=1)))
    assert result.stdout == f"anna: 7.0 s at {RATE} Hz, -17.0 dBFS RMS, in {folder / 'anna.wav'}\n"
    assert 'ttsw say --model xtts-v2-… -O reference_audio=anna "…"' in result.stderr
    assert "caution" not in result.stderr
    assert soundfile.info(folder / "anna.wav").channels == 1


def test_what_could_be_better_is_a_caution_and_no_refusal(run, folder, recording):
    said = run("clone", "anna", recording(tone(3, level=0.02, rate=16_000), 16_000)).stderr
    assert said.count("caution: ") == 3
    assert (folder / "anna.wav").is_file()


def test_wrong_arguments_are_refused(run, recording, tmp_path, folder):
    path = recording(tone())
    with pytest.raises(InvalidArgumentError, match="'Anna' is no name for a clip"):
        run("clone", "Anna", path)
    with pytest.raises(NotFoundError, match=r"there is no file .*none"):
        run("clone", "anna", tmp_path / "none.wav")
    with pytest.raises(InvalidArgumentError):
        run("clone", "anna", recording(tone(0.2)))
    assert not folder.exists()


def test_a_taken_name_needs_replace(run, recording):
    run("clone", "anna", recording(tone()))
    with pytest.raises(AlreadyExistsError, match="there is a clip 'anna'"):
        run("clone", "anna", recording(tone(8)))
    assert run("clone", "anna", recording(tone(8)), "--replace").stdout.startswith("anna: 8.0 s")


def test_clips_are_listed(run, recording, folder):
    assert "ttsw voices clone NAME FILE registers one" in run("clips").stderr
    run("clone", "anna", recording(tone()))
    (folder / "odd.wav").write_text("no audio")
    result = run("clips")
    assert result.stdout.splitlines()[1].split()[:7] == ["anna", "7.0", "s", str(RATE), "Hz", "-17.0", "dBFS"]
    assert "broken: odd: the clip" in result.stderr
    row = json.loads(run("clips", "--json").stdout)[0]
    assert (row["name"], row["seconds"], row["path"]) == ("anna", 7.0, str(folder / "anna.wav"))


def test_a_clip_is_removed(run, recording, folder):
    run("clone", "anna", recording(tone()))
    assert run("unclone", "anna").stdout == "anna: removed\n"
    assert not list(folder.iterdir())
    with pytest.raises(NotFoundError, match="no clip 'anna'; there are: none"):
        run("unclone", "anna")


def test_what_is_said_is_taken_as_given_or_from_beside_the_recording(run, folder, recording):
    path = recording(tone())
    assert "isn't known (--transcript)" in run("clone", "none", path).stderr
    result = run("clone", "given", path, "--transcript", " Ob blond\noder braun. ")
    assert "--transcript" not in result.stderr
    path.with_suffix(".txt").write_text("From beside it.")
    run("clone", "beside", path)
    rows = {row["name"]: row["transcript"] for row in json.loads(run("clips", "--json").stdout)}
    assert rows == {"none": "", "given": "Ob blond oder braun.", "beside": "From beside it."}
    assert "Ob blond oder braun." in run("clips").stdout
    with pytest.raises(InvalidArgumentError, match="the transcript is longer than any recording's: 4096 bytes"):
        run("clone", "long", path, "-t", "x" * 5000)
