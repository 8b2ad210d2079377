"""A LoRA is read as peft has written it; whatever can't be spoken with is refused with a sentence."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.engines.sesame.making import TEXTS, ask, by_peft, finish, open_, read_pack
from ttsw.adapters.sesame import random_pack
from ttsw.adapters.sesame.checkpoint import load_model
from ttsw.adapters.sesame.lora_files import find_lora, read_lora
from ttsw.errors import UnavailableError

Q = "base_model.model.backbone_model.layers.0.self_attn.q_proj"


@pytest.fixture
def folder(packs, tmp_path):
    """A copy of anna, to be spoiled."""
    return shutil.copytree(packs / "anna", tmp_path / "spoiled")


def read(folder, model):
    files = {path.name: path for path in folder.iterdir()}
    return read_lora(*find_lora(files, folder), model)


def settle(folder, **changes):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def alter(folder, change):
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


@pytest.fixture
def make(packs, tmp_path):
    """Makes a LoRA, and gives its folder."""

    def make(**more):
        folder = tmp_path / "made"
        random_pack.build_lora(folder, packs / "tiny", seed=5, **more)
        return folder

    return make


@pytest.mark.parametrize(
    "more",
    [
        {"rank": 1},
        {"rank": 6, "use_rslora": True},
        {"rank": 4, "lora_alpha": 3},
        {"rank_pattern": {"q_proj": 2, "layers.1.mlp.up_proj": 5}, "alpha_pattern": {"v_proj": 1}},
        {"target_modules": ["lm_head", "inputs_embeds_projector", "down_proj"]},
        {"layers_to_transform": [1], "target_modules": ["v_proj", "gate_proj"]},
    ],
)
def test_whatever_peft_writes_of_plain_lora_speaks_as_peft_has_it(make, packs, decoder, reader, more):
    folder = make(**more)
    tokens = reader.encode(TEXTS[1], 0)
    wanted = ask(by_peft(packs / "tiny", folder), tokens, 10)
    model = load_model(read_pack(packs / "tiny"), torch.device("cpu"))
    row = open_(decoder, tokens, 10, lora=decoder.loras.add(read(folder, model)))
    assert (finish(decoder, [row])[0] == wanted).all()


def test_a_configuration_may_begin_with_a_mark_of_its_encoding(folder, model):
    wanted = read(folder, model).keys()
    path = folder / "adapter_config.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read(folder, model).keys() == wanted


def test_what_torch_has_saved_is_read_too(folder, model):
    wanted = read(folder, model)
    tensors = load_file(folder / "adapter_model.safetensors")
    torch.save(tensors, folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").unlink()
    found = read(folder, model)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(one, other) for name in wanted for one, other in zip(found[name], wanted[name], strict=True))


class Evil:
    def __reduce__(self):
        return (print, ("run",))


def test_nothing_in_a_file_is_run(folder, model, capsys):
    (folder / "adapter_model.safetensors").unlink()
    torch.save({f"{Q}.lora_A.weight": Evil()}, folder / "adapter_model.bin")
    with pytest.raises(UnavailableError, match="holds more than weights"):
        read(folder, model)
    assert "run" not in capsys.readouterr().out


def test_factors_of_the_codec_that_change_nothing_are_left_out(folder, model):
    """Peft finds modules by the ends of their names, and so makes factors of the codec; training doesn't touch them."""
    name = "base_model.model.codec_model.decoder_transformer.layers.0.self_attn.q_proj"

    def change(tensors):
        tensors[f"{name}.lora_A.weight"], tensors[f"{name}.lora_B.weight"] = torch.randn(4, 32), torch.zeros(32, 4)

    wanted = read(folder, model).keys()
    alter(folder, change)
    assert read(folder, model).keys() == wanted
    alter(folder, lambda tensors: tensors.update({f"{name}.lora_B.weight": torch.ones(32, 4)}))
    with pytest.raises(UnavailableError, match=r"changes the codec \(codec_model.decoder.* merge it into its base"):
        read(folder, model)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"use_dora": True}, "a LoRA with DoRA isn't spoken with; merge it"),
        ({"bias": "all"}, "a LoRA with bias 'all' isn't spoken with; merge it"),
        ({"lora_bias": True}, "with biases of its factors"),
        ({"modules_to_save": ["lm_head"]}, r"with whole modules \(modules_to_save\) isn't spoken with; merge it"),
        ({"peft_type": "LOHA"}, r"its \"peft_type\" is 'LOHA', not 'LORA'"),
        ({"r": "4"}, "gives no r and lora_alpha that can be"),
        ({"lora_alpha": None}, "gives no r and lora_alpha that can be"),
        ({"r": 5}, r"q_proj has rank 4, but .*adapter_config.json says 5|has rank 4, but .* says 5"),
        ({"lora_alpha": float("nan")}, "gives no r and lora_alpha that can be"),
        ({"rank_pattern": {"(k_proj": 3}}, "is no pattern"),
        ({"alpha_pattern": {"k_proj": "3"}}, "its alpha_pattern must give numbers"),
        ({"rank_pattern": {"k_proj": 3}}, r"k_proj has rank 4, but .* says 3"),
    ],
)
def test_settings_that_go_beyond_are_refused(folder, model, changes, match):
    settle(folder, **changes)
    with pytest.raises(UnavailableError, match=match):
        read(folder, model)


@pytest.mark.parametrize("use", [{"use_dora": True}, {"bias": "lora_only", "target_modules": ["q_proj"]}])
def test_so_are_those_that_peft_itself_writes(make, model, use):
    with pytest.raises(UnavailableError, match="merge it into its base"):
        read(make(**use), model)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda t: t.update({f"{Q}.lora_A.weight": torch.full((4, 64), torch.nan)}), "values that are not finite"),
        (lambda t: t.pop(f"{Q}.lora_B.weight"), "has only one of its two factors"),
        (lambda t: t.update({f"{Q}.lora_A.weight": torch.zeros(3, 64)}), "have ranks 3 and 4"),
        (lambda t: t.update({f"{Q}.lora_A.weight": torch.zeros(4, 48)}), r"another model \(of 'tiny', it says\)"),
        (lambda t: t.update({f"{Q}.weight": torch.zeros(4)}), "is no part of a plain LoRA; merge it"),
        (lambda t: t.update({f"{Q}.lora_magnitude_vector": torch.zeros(4)}), "is no part of a plain LoRA; merge it"),
        (lambda t: [t.update({n: v * 0}) for n, v in [*t.items()][:0]] or t.clear(), "holds nothing"),
        (
            lambda t: t.update({n.replace("layers.1.", "layers.9."): v.clone() for n, v in t.items() if "s.1" in n}),
            r"another model .* there is none",
        ),
        (
            lambda t: t.update({
                f"base_model.model.embed_text_tokens.lora_{factor}.weight": torch.zeros(4, 4) for factor in "AB"
            }),
            "embed_text_tokens, which isn't a projection",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(folder, model, change, match):
    alter(folder, change)
    with pytest.raises(UnavailableError, match=match):
        read(folder, model)


def test_a_lora_of_another_base_is_refused(packs, model, tmp_path):
    random_pack.TINY["hidden_size"], was = 32, random_pack.TINY["hidden_size"]
    depth = random_pack.TINY["depth_decoder_config"]
    depth["backbone_hidden_size"] = 32
    try:
        random_pack.build(tmp_path / "smaller", "tiny")
        random_pack.build_lora(tmp_path / "lora", tmp_path / "smaller")
    finally:
        random_pack.TINY["hidden_size"] = depth["backbone_hidden_size"] = was
    with pytest.raises(UnavailableError, match=r"is a LoRA of another model \(of 'smaller', it says\)"):
        read(tmp_path / "lora", model)


def test_a_folder_that_is_none_is_refused(packs, model, folder):
    (folder / "adapter_config.json").unlink()
    with pytest.raises(UnavailableError, match=r"is no LoRA as peft writes it: it needs adapter_config.json and"):
        read(folder, model)
    with pytest.raises(UnavailableError, match=r"and has config.json, generation_config.json"):
        read(packs / "tiny", model)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_damaged_files_are_named(folder, model, name):
    path = folder / name
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UnavailableError, match=name):
        read(folder, model)
