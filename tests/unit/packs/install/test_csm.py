"""A fine-tuned CSM's folder, and what its pack says of it."""

import json

import pytest
import yaml

from ttsw.errors import InvalidArgumentError
from ttsw.packs.install.csm import CsmVoice, describe_csm, find_csm, guess_base


@pytest.fixture
def folder(tmp_path):
    def make(**files):
        for name, content in files.items():
            path = tmp_path / name.replace("__", ".")
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        return tmp_path

    return make


LORA = {"peft_type": "LORA", "base_model_name_or_path": "unsloth/csm-1b", "r": 16, "lora_alpha": 32}
CSM = {"model_type": "csm", "codec_config": {"model_type": "mimi"}}


def test_a_lora_is_its_configuration_and_its_weights(folder):
    found = find_csm(folder(adapter_config__json=LORA, adapter_model__bin="x", README__md="x", tokenizer__json="{}"))
    assert (sorted(found.files), found.base, found.lora) == (
        ["adapter_config.json", "adapter_model.bin"],
        "unsloth/csm-1b",
        True,
    )


def test_a_whole_model_is_what_the_library_reads(folder):
    files = {"model__safetensors": "x", "tokenizer__json": "{}", "optimizer__pt": "x", "README__md": "x"}
    where = folder(config__json=CSM, **files)
    found = find_csm(where)
    assert sorted(found.files) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert not found.lora
    said = yaml.safe_load(describe_csm(found, "anna", "", {"config.json": "ab"}, "MIT"))
    assert (said["family"], said["model_id"], said["license"], "base" in said) == ("sesame", "anna", "MIT", False)


def test_other_folders_are_no_csm(folder, tmp_path):
    assert find_csm(tmp_path) is None
    assert find_csm(tmp_path / "none") is None
    assert find_csm(folder(config__json={"model_type": "llama"})) is None
    assert find_csm(folder(config__json=[])) is None
    assert find_csm(folder(config__json="{")) is None


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({"adapter_config__json": LORA}, r"has adapter_config\.json, and no weights: adapter_model\.safetensors or"),
        ({"adapter_config__json": "{", "adapter_model__bin": "x"}, "is not the configuration of a LoRA: it is no JSON"),
        ({"adapter_config__json": {"peft_type": "LOHA"}, "adapter_model__bin": "x"}, "is 'LOHA', not 'LORA'"),
        ({"config__json": CSM}, r"the configuration of a CSM, and no weights: .* or model\.safetensors$"),
        ({"config__json": CSM, "other__safetensors": "x", "tokenizer__json": "{}"}, "no weights: "),
        ({"config__json": CSM, "model__safetensors": "x"}, r"and no tokenizer: tokenizer\.json"),
        ({"config__json": CSM, "model__safetensors__index__json": "{}", "tokenizer__json": "{}"}, "and no weights"),
        ({"config__json": CSM | {"quantization_config": {}}}, "is of quantised weights"),
        ({"config__json": CSM | {"codec_config": None}}, "has no codec that is known"),
    ],
)
def test_half_a_voice_is_refused(folder, files, match):
    with pytest.raises(InvalidArgumentError, match=match):
        find_csm(folder(**files))


@pytest.mark.parametrize(
    ("named", "base"),
    [
        ("sesame/csm-1b", "sesame-csm-1b"),
        ("/home/anna/models/Tiny/", "sesame-tiny"),
        ("", ""),
        ("..", ""),
        ("my model", ""),
    ],
)
def test_the_base_is_guessed_where_its_name_can_be_one(named, base, tmp_path):
    assert guess_base(CsmVoice(tmp_path, {}, named, lora=True)) == base
