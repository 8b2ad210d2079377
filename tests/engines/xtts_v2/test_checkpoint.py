"""Files are read safely, and what is wrong with them is said in a sentence that names the file."""

import json
import os
import pickle
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from ttsw.adapters.base import EngineSettings
from ttsw.adapters.xtts.adapter import XttsAdapter
from ttsw.adapters.xtts.checkpoint import load_model
from ttsw.adapters.xtts.files import read_weights
from ttsw.adapters.xtts.imports import XttsArgs, XttsAudioConfig, XttsConfig
from ttsw.errors import UnavailableError

CPU = torch.device("cpu")


@pytest.fixture
def state(pack):
    return torch.load(pack.files["model.pth"], weights_only=True)["model"]


@pytest.fixture
def with_file(pack, tmp_path):
    """Gives the pack with one of its files replaced by what a function writes."""

    def change(role, write, instead=None):
        path = tmp_path / role
        write(path)
        files = {name: file for name, file in pack.files.items() if name != instead}
        return replace(pack, files=files | {role: path})

    return change


def same(one, other):
    found, wanted = one.state_dict(), other.state_dict()
    return all(torch.equal(found[name], wanted[name]) for name in found if name in wanted)


def test_weights_are_those_that_the_library_loads(pack, library):
    model = load_model(pack, CPU)
    shared = model.state_dict().keys() & library.state_dict().keys()
    assert len(shared) > 300
    assert same(model, library)
    assert not any(name.startswith("gpt.text_head") for name in model.state_dict())
    assert not any(parameter.requires_grad or parameter.is_meta for parameter in model.parameters())
    assert not any(module.training for module in model.modules())


def test_weights_in_other_clothes_are_the_same(with_file, state, pack):
    wanted = load_model(pack, CPU)
    old = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): values
        for name, values in state.items()
    }
    assert any(name.endswith("weight_g") for name in old)
    training = {f"xtts.{name}": values for name, values in state.items()} | {"dvae.x": torch.ones(1)}
    twice = state | {"gpt.gpt.wte.weight": torch.ones(3), "gpt.gpt_inference.lm_head.1.bias": torch.ones(3)}
    masks = state | {"gpt.gpt.h.0.attn.bias": torch.ones(1, 1, 9, 9), "gpt.gpt.h.0.attn.masked_bias": torch.ones(())}
    for weights in (old, training, twice, masks):
        assert same(
            load_model(with_file("model.pth", lambda path, w=weights: torch.save({"model": w}, path)), CPU), wanted
        )
    bare = with_file("model.pth", lambda path: torch.save(state, path))
    assert same(load_model(bare, CPU), wanted)
    legacy = with_file(
        "model.pth", lambda path: torch.save({"model": state}, path, _use_new_zipfile_serialization=False)
    )
    assert same(load_model(legacy, CPU), wanted)


def test_safetensors_are_read(with_file, state, pack):
    copies = {name: values.clone().contiguous() for name, values in state.items()}
    given = with_file("model.safetensors", lambda path: save_file(copies, path), instead="model.pth")
    assert same(load_model(given, CPU), load_model(pack, CPU))
    broken = with_file("model.safetensors", lambda path: path.write_bytes(b"\x00" * 100), instead="model.pth")
    with pytest.raises(UnavailableError, match=r"model\.safetensors is no file of weights, or it is damaged"):
        load_model(broken, CPU)


def test_coquis_own_checkpoint_with_its_configuration_is_read(with_file, state, monkeypatch):
    for kind in (XttsArgs, XttsAudioConfig):
        monkeypatch.setattr(kind, "__module__", "TTS.tts.models.xtts")  # where they were when it was saved
    given = with_file("model.pth", lambda path: torch.save({"config": XttsConfig(), "model": state}, path))
    monkeypatch.undo()
    assert len(read_weights(given.files["model.pth"])) == len(state)


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("where", ["beside", "as", "plain"])
def test_code_in_a_checkpoint_is_refused_and_not_run(with_file, state, tmp_path, where):
    trap = tmp_path / "ran"
    evil = {"beside": {"model": state, "config": Malicious(trap)}, "as": Malicious(trap), "plain": Malicious(trap)}[
        where
    ]

    def write(path):
        path.write_bytes(pickle.dumps(evil)) if where == "plain" else torch.save(evil, path)

    given = with_file("model.pth", write)
    with pytest.raises(UnavailableError, match=r"model\.pth (holds more than weights|is no file of weights)"):
        load_model(given, CPU)
    assert not trap.exists()
    if where != "plain":
        torch.load(given.files["model.pth"], weights_only=False)
        assert trap.exists(), "the trap is a real one"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("gpt.mel_head.weight"), "it lacks gpt.mel_head.weight"),
        (
            lambda state: state.update({"gpt.mel_head.bias": torch.ones(7)}),
            r"gpt.mel_head.bias is \(7,\) and must be \(1026,\)",
        ),
        (
            lambda state: state.update({"gpt.gpt.h.2.ln_1.bias": torch.ones(64)}),
            "it has gpt.gpt.h.2.ln_1.bias, which no such model has",
        ),
        (lambda state: [state.pop(name) for name in list(state)[:9]], "it lacks .*, .*, .* and 6 more"),
        (lambda state: state.update({"gpt.mel_head.bias": "no tensor"}), "holds no weights by name"),
        (lambda state: state["gpt.mel_head.bias"].fill_(torch.nan), "makes no audio that is finite"),
    ],
)
def test_weights_that_do_not_fit_are_refused(with_file, state, change, said):
    change(state)
    given = with_file("model.pth", lambda path: torch.save({"model": state}, path))
    with pytest.raises(UnavailableError, match=rf"model\.pth.*{said}"):
        XttsAdapter.load(given, EngineSettings())


def test_a_damaged_file_is_refused(with_file, pack):
    half = pack.files["model.pth"].read_bytes()[:100_000]
    for content in (half, b"", b"no checkpoint"):
        with pytest.raises(UnavailableError, match=r"model\.pth .*damaged"):
            load_model(with_file("model.pth", lambda path, c=content: path.write_bytes(c)), CPU)


def config_with(pack, **changes):
    found = json.loads(pack.files["config.json"].read_text())
    for name, value in changes.items():
        (found["model_args"] if name in found["model_args"] else found)[name] = value
    return found


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "vits"}, "not the configuration of an XTTS-v2 model: .*must be 'xtts'"),
        ({"gpt_use_perceiver_resampler": False}, "it is XTTS v1's"),
        ({"gpt_layers": 0}, "gpt_layers is 0, and must be a whole number above 0"),
        ({"gpt_layers": "two"}, "gpt_layers is 'two', and must be a whole number above 0"),
        ({"kv_cache": "perhaps"}, "another value beside gpt_layers is of a wrong type"),
        ({"gpt_cond_len": 0}, "gpt_cond_len is 0"),
        ({"gpt_n_heads": 5}, "gives sizes that can't be"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(with_file, pack, changes, said):
    content = json.dumps(config_with(pack, **changes))
    with pytest.raises(UnavailableError, match=rf"config\.json .*{said}"):
        load_model(with_file("config.json", lambda path: path.write_text(content)), CPU)


@pytest.mark.parametrize("content", ["", "[]", "{}", "no json", "\xff"])
def test_what_is_no_configuration_is_refused(with_file, content):
    given = with_file("config.json", lambda path: path.write_text(content, "latin-1"))
    with pytest.raises(UnavailableError, match=r"config\.json is not the configuration of an XTTS-v2 model"):
        load_model(given, CPU)


def test_a_configuration_of_another_size_does_not_fit(with_file, pack):
    content = json.dumps(config_with(pack, gpt_layers=3))
    with pytest.raises(UnavailableError, match=r"model\.pth is not of the model .* it lacks gpt\.gpt\.h\.2\."):
        load_model(with_file("config.json", lambda path: path.write_text(content)), CPU)


def test_a_vocabulary_that_cannot_be_is_refused(with_file, pack):
    for content in ("{}", "", "no json"):
        with pytest.raises(UnavailableError, match=r"vocab\.json is no vocabulary of a tokenizer"):
            load_model(with_file("vocab.json", lambda path, c=content: path.write_text(c)), CPU)
    other = pack.files["vocab.json"].read_text().replace("[START]", "[BEGIN]")
    with pytest.raises(
        UnavailableError, match=r"vocab\.json is not the vocabulary of an XTTS model: it lacks \[START\]"
    ):
        load_model(with_file("vocab.json", lambda path: path.write_text(other)), CPU)


@pytest.mark.parametrize("role", ["model.pth", "config.json", "vocab.json"])
def test_a_file_that_the_pack_lacks_is_told(pack, role):
    files = {name: path for name, path in pack.files.items() if name != role}
    with pytest.raises(UnavailableError, match=rf"needs .*{role}; the pack has"):
        load_model(replace(pack, files=files), CPU)
