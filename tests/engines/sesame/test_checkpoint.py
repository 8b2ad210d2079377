"""A model's files become the library's model, or a sentence that says which is wrong, and how."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CsmForConditionalGeneration

from tests.engines.sesame.making import read_pack
from ttsw.adapters.base import EngineSettings
from ttsw.adapters.sesame.adapter import SesameAdapter
from ttsw.adapters.sesame.checkpoint import load_model
from ttsw.adapters.sesame.files import read_draws, read_tokenizer
from ttsw.adapters.sesame.sampling import CsmSampling, SamplingDefaults
from ttsw.errors import UnavailableError

CPU = torch.device("cpu")


@pytest.fixture
def root(packs, tmp_path):
    """A copy of the pack, to be spoiled."""
    return shutil.copytree(packs / "tiny", tmp_path / "spoiled")


def settle(path, change):
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))


def alter(root, change):
    path = root / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def load(root):
    return load_model(read_pack(root), CPU)


def test_it_is_the_librarys_model(model, library):
    ours, theirs = model.state_dict(), library.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert not model.training
    assert not any(each.requires_grad or each.is_meta for each in (*model.parameters(), *model.buffers()))
    for name, values in model.named_buffers():
        assert torch.equal(values, library.get_buffer(name)), name
    both = model.backbone_model.embed_tokens.embed_audio_tokens, model.depth_decoder.model.embed_tokens
    assert both[0].weight is both[1].weight


def test_shards_and_a_single_file_are_the_same(packs, with_lora, tmp_path):
    merged = load(packs / "merged").state_dict()
    assert len([*(packs / "merged").glob("model-*.safetensors")]) > 1
    wanted = with_lora("anna").merge_and_unload().state_dict()
    assert all(torch.allclose(merged[name], wanted[name], atol=1e-6) for name in wanted)
    renamed = shutil.copytree(packs / "merged", tmp_path / "sesames")
    (renamed / "model.safetensors.index.json").rename(renamed / "transformers.safetensors.index.json")
    found = load(renamed).state_dict()
    assert all(torch.equal(found[name], merged[name]) for name in merged)


def test_sesames_own_index_goes_before_a_file_in_another_format(packs, tmp_path):
    root = shutil.copytree(packs / "merged", tmp_path / "sesames")
    (root / "model.safetensors.index.json").rename(root / "transformers.safetensors.index.json")
    save_file({"backbone.norm.scale": torch.zeros(2)}, root / "model.safetensors")
    load(root)


@pytest.mark.parametrize("either", [0, 1])
def test_the_table_that_both_share_may_have_either_name(root, model, either):
    names = ("depth_decoder.model.embed_tokens.weight", "backbone_model.embed_tokens.embed_audio_tokens.weight")
    alter(root, lambda tensors: tensors.update({names[either]: tensors.pop(names[0])}))
    found = load(root)
    assert torch.equal(found.depth_decoder.model.embed_tokens.weight, model.depth_decoder.model.embed_tokens.weight)
    assert found.backbone_model.embed_tokens.embed_audio_tokens.weight is found.depth_decoder.model.embed_tokens.weight


def test_tables_that_are_not_shared_stay_apart(root, packs):
    library = CsmForConditionalGeneration.from_pretrained(packs / "tiny")
    settle(root / "config.json", lambda found: found.update(tie_codebooks_embeddings=False, tie_word_embeddings=False))
    name = "backbone_model.embed_tokens.embed_audio_tokens.weight"
    alter(root, lambda tensors: tensors.update({name: library.state_dict()[name] + 1}))
    found = load(root)
    audio, depth = found.backbone_model.embed_tokens.embed_audio_tokens, found.depth_decoder.model.embed_tokens
    assert torch.allclose(audio.weight, depth.weight + 1)


def test_16_bits_are_kept_where_they_are_asked_for(pack):
    model = load_model(pack, CPU, torch.bfloat16)
    kinds = {name: values.dtype for name, values in model.named_parameters()}
    assert {kind for name, kind in kinds.items() if name.startswith("codec_model.")} == {torch.float32}
    assert {kind for name, kind in kinds.items() if not name.startswith("codec_model.")} == {torch.bfloat16}
    assert model.backbone_model.rotary_emb.inv_freq.dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda c: c.update(model_type="llama"), "its \"model_type\" must be 'csm'"),
        (lambda c: c.update(num_codebooks=16), "num_codebooks of the depth decoder is 8, and must be 16"),
        (lambda c: c["codec_config"].update(num_quantizers=4), "num_quantizers of the codec is 4, and must be 8"),
        (
            lambda c: c["codec_config"].update(codebook_size=128),
            "vocab_size 67 has no room for the codec's codebook_size",
        ),
        (lambda c: c["codec_config"].update(codebook_size=60), "power of 2"),
        (
            lambda c: c["codec_config"].update(codebook_size=32),
            r"has .*embed_sum|codebook.cluster_usage is \(64,\) and must",
        ),
        (lambda c: c["depth_decoder_config"].update(vocab_size=66), "vocab_size of the depth decoder is 66"),
        (lambda c: c["depth_decoder_config"].update(backbone_hidden_size=32), "backbone_hidden_size .* must be 64"),
        (lambda c: c.update(text_vocab_size=300), r"embed_text_tokens.weight is \(264, 64\) and must be \(300, 64\)"),
        (lambda c: c.update(num_hidden_layers=3), "it lacks backbone_model.layers.2"),
        (lambda c: c.update(num_hidden_layers=0), "num_hidden_layers is 0"),
        (lambda c: c.update(hidden_size="64"), "is not the configuration of a CSM"),
        (lambda c: c.update(codebook_eos_token_id=65), "codebook_eos_token_id 65 is no code of the codec"),
        (lambda c: c.update(quantization_config={}), "is of quantised weights"),
        (lambda c: c["codec_config"].update(model_type="dac"), "codec_config must have the model_type 'mimi'"),
        (lambda c: c["codec_config"].update(use_causal_conv=False), "a codec that can't stream"),
        (lambda c: c["rope_parameters"].update(rope_type="dynamic", factor=2.0), "rope_type 'dynamic' isn't known"),
        (lambda c: c.update(hidden_act="gelu"), "layers other than those of Llama"),
    ],
)
def test_a_configuration_that_does_not_fit_is_told(root, change, match):
    settle(root / "config.json", change)
    with pytest.raises(UnavailableError, match=match):
        load(root)


def test_a_configuration_fetches_nothing(root):
    settle(
        root / "config.json",
        lambda found: found.update(
            auto_map={"AutoConfig": "somebody/else--code.Config"}, _attn_implementation="somebody/kernels"
        ),
    )
    assert "somebody" not in repr(vars(load(root).config))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda t: t.pop("lm_head.weight"), "it lacks lm_head.weight"),
        (lambda t: t.update(more=torch.zeros(1)), "it has more, which no such model has"),
        (
            lambda t: t.update({"lm_head.weight": torch.zeros(66, 64)}),
            r"lm_head.weight is \(66, 64\) and must be \(67, 64\)",
        ),
    ],
)
def test_weights_that_do_not_fit_are_told(root, change, match):
    alter(root, change)
    with pytest.raises(UnavailableError, match=match):
        load(root)


@pytest.mark.parametrize("keep", [0, 5, 1000, 100_000])
def test_damaged_weights_are_told(root, keep):
    path = root / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UnavailableError, match=r"model.safetensors is no file of weights, or it is damaged"):
        load(root)


def test_weights_that_are_not_finite_are_told(root):
    alter(root, lambda tensors: tensors["lm_head.weight"].fill_(torch.nan))
    with pytest.raises(UnavailableError, match="what its model makes isn't finite; its weights are damaged"):
        SesameAdapter.load(read_pack(root), EngineSettings())


@pytest.mark.parametrize(
    ("weights", "match"),
    [
        ({"weight_map": {}}, "is no index of weights"),
        ({}, "is no index of weights"),
        ({"weight_map": {"lm_head.weight": 3}}, "is no index of weights"),
        ({"weight_map": {"lm_head.weight": "../tiny/model.safetensors"}}, "says that weights are in '../tiny"),
        ({"weight_map": {"lm_head.weight": "elsewhere.safetensors"}}, "'elsewhere.safetensors', which isn't beside it"),
        ({"weight_map": {"lm_head.weight": "config.json"}}, "config.json"),
    ],
)
def test_an_index_that_leads_nowhere_is_told(root, weights, match):
    (root / "model.safetensors").unlink()
    (root / "model.safetensors.index.json").write_text(json.dumps(weights))
    with pytest.raises(UnavailableError, match=match):
        load(root)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_what_is_missing_is_told(root, name):
    (root / name).unlink()
    with pytest.raises(UnavailableError, match=rf"needs .*{name}; the pack has "):
        SesameAdapter.load(read_pack(root), EngineSettings())


def test_a_lora_is_no_model_by_itself(packs):
    with pytest.raises(UnavailableError, match=r"is a LoRA, and no model by itself: its metadata.yaml must name"):
        SesameAdapter.load(read_pack(packs / "anna"), EngineSettings())


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"model_type": "csm"}'])
def test_a_configuration_that_is_none_is_told(root, text):
    (root / "config.json").write_text(text)
    with pytest.raises(UnavailableError, match=r"config.json (is not the configuration of a CSM|has no codec)"):
        load(root)


def test_a_tokenizer_of_another_model_is_told(root, model):
    path = root / "tokenizer.json"
    settle(path, lambda found: found["added_tokens"].append(found["added_tokens"][0] | {"content": "x", "id": 264}))
    settle(path, lambda found: found["model"]["vocab"].update(x=264))
    with pytest.raises(UnavailableError, match=r"has tokens up to 264, but .* says text_vocab_size 264"):
        read_tokenizer(path, model.config)
    path.write_text(path.read_text().replace("end_of_text", "fin"))
    with pytest.raises(UnavailableError, match=r"it lacks <\|end_of_text\|>"):
        read_tokenizer(path, model.config)
    path.write_text("{}")
    with pytest.raises(UnavailableError, match="is no tokenizer"):
        read_tokenizer(path, model.config)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ({}, SamplingDefaults(CsmSampling(0.9, 50), CsmSampling(0.9, 50))),
        ({"temperature": 0.7, "depth_decoder_top_k": 0}, SamplingDefaults(CsmSampling(0.7, 50), CsmSampling(0.9, 0))),
        (
            {"do_sample": False, "depth_decoder_do_sample": True},
            SamplingDefaults(CsmSampling(0.9, 1), CsmSampling(0.9, 50)),
        ),
        ({"temperature": None, "top_k": None}, SamplingDefaults(CsmSampling(0.9, 50), CsmSampling(0.9, 50))),
    ],
)
def test_how_codes_are_drawn_is_the_packs_to_say(root, found, wanted):
    (root / "generation_config.json").write_text(json.dumps(found))
    assert read_draws(read_pack(root)) == wanted


@pytest.mark.parametrize("found", [{"temperature": "hot"}, {"temperature": 0}, {"top_k": -1}, {"top_k": [1]}])
def test_how_they_cannot_be_drawn_is_told(root, found):
    (root / "generation_config.json").write_text(json.dumps(found))
    with pytest.raises(UnavailableError, match=r"generation_config.json has a temperature or top_k that is none"):
        read_draws(read_pack(root))


def test_without_a_word_on_that_it_is_sesames(root):
    (root / "generation_config.json").unlink()
    assert read_draws(read_pack(root)) == SamplingDefaults(CsmSampling(0.9, 50), CsmSampling(0.9, 50))
