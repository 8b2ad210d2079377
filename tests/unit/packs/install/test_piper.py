"""A Piper voice's files, and what its pack says of it."""

import json

import pytest
import yaml

pytest.importorskip("onnx", reason="it comes with the extra `piper`, which is not installed")

from tests.tiny_piper import tiny_bytes
from ttsw.errors import InvalidArgumentError
from ttsw.packs.install.piper import PiperVoice, describe_voice, find_voice

IDS = {"_": [0], "^": [1], "$": [2], "a": [3]}
FULL = {
    "audio": {"sample_rate": 16_000, "quality": "x_low"},
    "language": {"code": "pt_PT", "family": "pt", "name_english": "Portuguese"},
    "num_speakers": 3,
    "phoneme_type": "text",
    "phoneme_id_map": IDS,
}
OLD = {"phoneme_id_map": IDS, "audio": {"sample_rate": 22_050}, "espeak": {"voice": "en-us"}}


@pytest.fixture
def make(tmp_path):
    def make(config, name="pt_PT-tugão-x_low"):
        model = tmp_path / f"{name}.onnx"
        speakers = config.get("num_speakers") if isinstance(config, dict) else None
        model.write_bytes(tiny_bytes(speakers or 1))
        (tmp_path / f"{name}.onnx.json").write_text(config if isinstance(config, str) else json.dumps(config))
        return PiperVoice(model, tmp_path / f"{name}.onnx.json")

    return make


def describe(voice):
    return yaml.safe_load(describe_voice(voice, "anna", {"model.onnx": "ab"}, "MIT"))


def test_a_voice_is_found_by_either_file_or_its_folder(make, tmp_path):
    voice = make(OLD)
    assert find_voice(voice.model) == find_voice(voice.config) == find_voice(tmp_path) == voice
    assert find_voice(tmp_path / "other.bin") is None
    (tmp_path / "empty").mkdir()
    assert find_voice(tmp_path / "empty") is None


def test_half_a_voice_is_refused(make, tmp_path):
    make(OLD).config.unlink()
    with pytest.raises(InvalidArgumentError, match=r"a Piper voice is two files, and there is no file .*\.onnx\.json"):
        find_voice(tmp_path)


def test_of_several_voices_one_must_be_named(make, tmp_path):
    make(OLD, "a")
    make(OLD, "b")
    with pytest.raises(InvalidArgumentError, match=r"has 2 \.onnx files; name the one to add"):
        find_voice(tmp_path)


@pytest.mark.parametrize(
    ("stem", "name"), [("en_US-joe-medium", "en-us-joe-medium"), ("A B__c", "a-b-c"), ("v1.0_", "v1.0"), ("声", "")]
)
def test_names_are_written_as_those_of_packs(make, stem, name):
    assert make(OLD, stem).name == name


def test_a_pack_says_what_the_configuration_does(make):
    said = describe(make(FULL))
    assert (said["family"], said["model_id"], said["license"]) == ("piper", "anna", "MIT")
    assert (said["languages"], said["audio"]["sample_rate"]) == (["pt"], 16_000)
    assert said["tags"] == ["portuguese", "x_low", "3 speakers"]
    assert said["files"] == {"model.onnx": {"path": "model.onnx", "sha256": "ab"}}


def test_an_old_configuration_has_its_language_from_espeak(make):
    assert describe(make(OLD))["languages"] == ["en"]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("{", "the file: "),
        ("[]", "the file: "),
        ({}, "audio: "),
        ({"audio": {"sample_rate": "fast"}}, r"audio\.sample_rate: "),
        ({"audio": {"sample_rate": 1}}, r"audio\.sample_rate: "),
        ({**OLD, "num_speakers": -1}, "num_speakers"),
    ],
)
def test_what_is_no_configuration_is_refused(make, config, said):
    with pytest.raises(InvalidArgumentError, match=f"is not the configuration of a Piper voice: .*{said}"):
        describe(make(config))
