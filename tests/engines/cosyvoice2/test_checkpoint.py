"""Files are read safely, and what is wrong with them is said in a sentence that names the file."""

import json
import os
import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from ttsw.adapters.base import EngineSettings
from ttsw.adapters.cosyvoice2.adapter import CosyVoice2Adapter
from ttsw.adapters.cosyvoice2.checkpoint import load_model
from ttsw.adapters.cosyvoice2.definition import DefinitionRecord, read_definition
from ttsw.errors import UnavailableError

CPU = torch.device("cpu")
YAML = "cosyvoice2.yaml"


@pytest.fixture
def with_file(pack, tmp_path):
    """Gives the pack with one of its files replaced by what a function writes."""

    def change(role, write):
        path = tmp_path / role
        write(path)
        return replace(pack, files=pack.files | {role: path})

    return change


@pytest.fixture
def definition(pack):
    return pack.files[YAML].read_text()


def state(pack, part):
    return torch.load(pack.files[f"{part}.pt"], weights_only=True)


def same(one, other):
    found, wanted = one.state_dict(), other.state_dict()
    assert found.keys() <= wanted.keys()
    return all(torch.equal(found[name], wanted[name]) for name in found)


def test_weights_are_those_that_the_library_loads(pack, library):
    from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations  # noqa: PLC0415

    model = load_model(pack, CPU)
    assert same(model.llm, library.llm)
    assert same(model.flow, library.flow)
    torch.manual_seed(0)
    frames = torch.randn(1, 80, 20)
    assert torch.allclose(model.hift.f0_predictor(frames), library.hift.f0_predictor(frames), atol=1e-4)
    assert torch.equal(model.flow.decoder.rand_noise, library.flow.decoder.rand_noise)
    for part in (model.llm, model.flow, model.hift):
        assert not any(each.requires_grad or each.is_meta for each in part.parameters())
        assert not any(each.is_meta for each in part.buffers())
        assert not any(module.training for module in part.modules())
    assert not any(is_parametrized(each) for each in model.hift.modules())
    assert remove_parametrizations is not None


def test_loading_leaves_the_processs_chance_alone(pack):
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    before = (torch.random.get_rng_state(), random.getstate(), np.random.get_state()[1].copy())  # noqa: NPY002
    load_model(pack, CPU)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.array_equal(np.random.get_state()[1], before[2])  # noqa: NPY002


def test_weights_in_other_clothes_are_the_same(with_file, pack):
    wanted = load_model(pack, CPU)
    old = {
        "generator."
        + name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): values
        for name, values in state(pack, "hift").items()
    }
    assert any(name.endswith("weight_g") for name in old)
    assert same(load_model(with_file("hift.pt", lambda path: torch.save(old, path)), CPU).hift, wanted.hift)
    trained = state(pack, "llm") | {"epoch": 3, "step": 100}
    del trained["llm.model.lm_head.weight"]
    assert same(load_model(with_file("llm.pt", lambda path: torch.save(trained, path)), CPU).llm, wanted.llm)


def test_a_definition_is_data(pack, tmp_path):
    found = read_definition(pack.files[YAML])
    assert isinstance(found["flow"], DefinitionRecord)
    assert found["flow"].name == "cosyvoice.flow.flow.CausalMaskedDiffWithXvec"
    assert found["flow"].arguments["encoder"].arguments["static_chunk_size"] == 25
    assert found["flow"].arguments["decoder"].arguments["estimator"].arguments["static_chunk_size"] == 50
    assert found["__set_seed1"] is None
    assert found["hift"].arguments["upsample_rates"] == [8, 5, 3]


def test_a_definition_of_the_first_release_is_read(with_file, definition, pack):
    """It names no chunks for the encoder, and more classes for training than are ever made here."""
    first = definition.replace("static_chunk_size: !ref <chunk_size>\n", "use_dynamic_chunk: True\n")
    first = first.replace("!ref <chunk_size> * <token_mel_ratio>", "!ref <token_frame_rate> * <token_mel_ratio> # why")
    first = first.replace("chunk_size: 25\n", "").replace(
        "num_decoding_left_chunks: !ref <num_decoding_left_chunks>", "num_decoding_left_chunks: 2"
    )
    first = first.replace(
        "    mel_spec_transform: [",
        """    discriminator: !new:cosyvoice.hifigan.discriminator.MultipleDiscriminator
        mpd: !new:matcha.hifigan.models.MultiPeriodDiscriminator
        mrd: !new:cosyvoice.hifigan.discriminator.MultiResolutionDiscriminator
    mel_spec_transform: [""",
    )
    assert "MultiPeriod" in first
    assert "<chunk_size>" not in first
    model = load_model(with_file(YAML, lambda path: path.write_text(first)), CPU)
    assert model.chunk == 25
    assert same(model.flow, load_model(pack, CPU).flow)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("evil: !apply:os.mkdir [{trap}]", "it would call 'os.mkdir'"),
        ("evil: !apply:os.system ['mkdir {trap}']", "it would call 'os.system'"),
        ("evil: !new:os.mkdir {{path: {trap}}}", "'os.mkdir' is no class or function of such a model"),
        ("evil: !name:subprocess.run {{args: [mkdir, {trap}]}}", "'subprocess.run' is no class"),
        ("evil: !new:cosyvoice.llm.llm.Qwen2LM [1]", "must have arguments by name"),
        ("evil: !!python/object/apply:os.mkdir [{trap}]", "could not determine a constructor"),
        ("evil: !include:/etc/passwd", "could not determine a constructor"),
        ("evil: !ref <nobody>", "is no name, and no product"),
        ("evil: !ref <evil>", "lead in a circle"),
        ("evil: !ref <sample_rate> * <llm>", "multiplies what are no numbers"),
        ("evil: &a [1]\nmore: *a", "it has an alias"),
        ("evil: [", "while parsing"),
    ],
)
def test_a_definition_that_would_do_something_is_refused(with_file, definition, tmp_path, line, said):
    trap = tmp_path / "ran"
    text = f"{definition}\n{line.format(trap=trap)}\n"
    with pytest.raises(
        UnavailableError, match=rf"cosyvoice2\.yaml is not the definition of a CosyVoice 2 model: .*{said}"
    ):
        load_model(with_file(YAML, lambda path: path.write_text(text)), CPU)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("llm: !new:cosyvoice.llm.llm.Qwen2LM", "llm: !new:cosyvoice.llm.llm.TransformerLM", "must be a Qwen2LM"),
        ("flow: !new", "floh: !new", "it lacks 'flow'"),
        ("channels: [64]", "channels: [64, 64]", "channels must be one number"),
        ("channels: [64]", "channels: [-8]", "gives what can't be"),
        ("act_fn: 'gelu'", "act_fn: 'snakebeta'", "act_fn is 'snakebeta', and must be 'gelu'"),
        ("pre_lookahead_len: 3", "pre_lookahead_len: 5", "pre_lookahead_len is 5, and must be 3"),
        ("pos_enc_layer_type: 'rel_pos_espnet'", "pos_enc_layer_type: 'no_pos'", "must be 'rel_pos_espnet'"),
        ("num_mid_blocks: 2", "num_mid_blocks: two", "gives what can't be"),
        ("static_chunk_size: !ref <chunk_size> * <token_mel_ratio>", "static_chunk_size: 70", "twice as many"),
        ("cond_channels: 32", "colour: 32", "has no colour"),
        ("    f0_predictor: !new:cosyvoice.hifigan.f0_predictor.ConvRNNF0Predictor",
         "    f0_predictor: !new:cosyvoice.hifigan.discriminator.MultipleDiscriminator", "is no part of such a model"),
        ("upsample_rates: [8, 5, 3]", "upsample_rates: [8, 5, 4]", "hops of 480"),
        ("sample_rate: 24000", "sample_rate: 22050", "sample_rate"),
        ("    num_mels: 80", "    mels: 80", "num_mels"),
    ],
)  # fmt: skip
def test_a_definition_that_cannot_be_is_refused(with_file, definition, old, new, said):
    assert old in definition
    with pytest.raises(UnavailableError, match=rf"cosyvoice2\.yaml .*{said}"):
        load_model(with_file(YAML, lambda path: path.write_text(definition.replace(old, new))), CPU)


@pytest.mark.parametrize("content", ["", "[]", "just text", "\x00", "a: " + "x" * (1 << 20)])
def test_what_is_no_definition_is_refused(with_file, content):
    with pytest.raises(UnavailableError, match=r"cosyvoice2\.yaml is not the definition"):
        load_model(with_file(YAML, lambda path: path.write_text(content)), CPU)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "llama"}, "its \"model_type\" must be 'qwen2'"),
        ({"hidden_size": 0}, "hidden_size is 0"),
        ({"hidden_size": "wide"}, "hidden_size is 'wide'"),
        ({"use_sliding_window": True}, "sliding window"),
    ],
)
def test_a_text_model_that_cannot_be_is_refused(with_file, pack, changes, said):
    content = json.dumps(json.loads(pack.files["text_config.json"].read_text()) | changes)
    with pytest.raises(
        UnavailableError, match=rf"text_config\.json is not the configuration of a Qwen2 model: .*{said}"
    ):
        load_model(with_file("text_config.json", lambda path: path.write_text(content)), CPU)


def test_a_text_model_of_another_size_does_not_fit(with_file, pack):
    content = json.dumps(json.loads(pack.files["text_config.json"].read_text()) | {"num_hidden_layers": 3})
    with pytest.raises(UnavailableError, match=r"llm\.pt is not of the model .* it lacks llm\.model\.model\.layers\.2"):
        load_model(with_file("text_config.json", lambda path: path.write_text(content)), CPU)


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("part", ["llm", "flow", "hift"])
def test_code_in_weights_is_refused_and_not_run(with_file, pack, tmp_path, part):
    trap = tmp_path / "ran"
    given = with_file(f"{part}.pt", lambda path: torch.save(state(pack, part) | {"x": Malicious(trap)}, path))
    with pytest.raises(UnavailableError, match=rf"{part}\.pt holds more than weights"):
        load_model(given, CPU)
    assert not trap.exists()
    torch.load(given.files[f"{part}.pt"], weights_only=False)
    assert trap.exists(), "the trap is a real one"


@pytest.mark.parametrize(
    ("part", "change", "said"),
    [
        ("flow", lambda found: found.pop("encoder_proj.bias"), "it lacks encoder_proj.bias"),
        ("hift", lambda found: found.update({"more": torch.ones(1)}), "it has more, which no such model has"),
        ("llm", lambda found: found.update({"llm_decoder.bias": torch.ones(7)}), r"llm_decoder.bias is \(7,\)"),
        ("llm", lambda found: found.update({"llm_decoder.bias": "no tensor"}), "holds no weights by name"),
        ("llm", lambda found: found["llm_decoder.bias"].fill_(torch.nan), "makes no audio that is finite"),
        ("flow", lambda found: found["encoder_proj.bias"].fill_(torch.nan), "makes no audio that is finite"),
        ("hift", lambda found: found["source_downs.0.bias"].fill_(torch.nan), "makes no audio that is finite"),
    ],
)
def test_weights_that_do_not_fit_are_refused(with_file, pack, part, change, said):
    found = state(pack, part)
    change(found)
    with pytest.raises(UnavailableError, match=rf"{part}\.pt.*{said}|{said}.*{part}\.pt"):
        CosyVoice2Adapter.load(with_file(f"{part}.pt", lambda path: torch.save(found, path)), EngineSettings())


def test_a_damaged_file_is_refused(with_file, pack):
    half = pack.files["flow.pt"].read_bytes()[:100_000]
    for content in (half, b"", b"no checkpoint"):
        with pytest.raises(UnavailableError, match=r"flow\.pt .*damaged"):
            load_model(with_file("flow.pt", lambda path, c=content: path.write_bytes(c)), CPU)


@pytest.mark.parametrize(
    "role",
    [YAML, "llm.pt", "flow.pt", "hift.pt", "campplus.onnx", "speech_tokenizer_v2.onnx", "text_config.json",
     "text_vocab.json", "text_merges.txt"],
)  # fmt: skip
def test_a_file_that_the_pack_lacks_is_told(pack, role):
    files = {name: path for name, path in pack.files.items() if name != role}
    with pytest.raises(UnavailableError, match=rf"needs .*{role}; the pack has"):
        CosyVoice2Adapter.load(replace(pack, files=files), EngineSettings())
