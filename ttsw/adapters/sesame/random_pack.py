"""Makes voice packs of random weights for the family sesame: a CSM, LoRA voices for it, and a merged model.

`python ttsw/adapters/sesame/random_pack.py FOLDER tiny` does it under the family's interpreter, if that finds ttsw.
All is made and saved by the libraries' own classes, transformers' and peft's. `tiny` has two small layers in each
transformer, 32 codebooks of 64 codes, and takes 3 MB; it has been given a sense of how long it speaks, and ends after
about a second for 40 letters. `full` has all sizes of Sesame's csm-1b, 7.1 GB, and never ends by itself.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soundfile
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from torch.nn import Module
from transformers import CsmConfig, CsmForConditionalGeneration, GenerationConfig

Size = Literal["tiny", "full"]

BEGIN, END, AUDIO, AUDIO_END = "<|begin_of_text|>", "<|end_of_text|>", "<|AUDIO|>", "<|audio_eos|>"
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

# Of Sesame's csm-1b: https://huggingface.co/sesame/csm-1b, config.json. The rest is what the library has by default.
FULL: dict[str, Any] = {
    "rope_parameters": {
        "rope_type": "llama3",
        "rope_theta": 500_000.0,
        "factor": 32.0,
        "low_freq_factor": 0.125,
        "high_freq_factor": 0.5,
        "original_max_position_embeddings": 1024,
    },
    "depth_decoder_config": {
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 500_000.0,
            "factor": 32.0,
            "low_freq_factor": 0.001953125,
            "high_freq_factor": 0.0078125,
            "original_max_position_embeddings": 16,
        },
    },
    "codec_config": {"model_type": "mimi"},
}
TINY: dict[str, Any] = {
    "vocab_size": 67,
    "codebook_pad_token_id": 66,
    "text_vocab_size": 264,
    "bos_token_id": 256,
    "pad_token_id": 258,
    "audio_token_id": 258,
    "audio_eos_token_id": 259,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "depth_decoder_config": {
        "vocab_size": 67,
        "backbone_hidden_size": 64,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
    "codec_config": {
        "model_type": "mimi",
        "codebook_size": 64,
        "codebook_dim": 16,
        "vector_quantization_hidden_dimension": 16,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_filters": 4,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "upsample_groups": 32,
        "sliding_window": 20,
        "layer_scale_initial_scale": 0.3,
    },
}

# Channels of the tiny model that know how long it speaks: the share of audio so far, that a position is audio, a
# constant, and that a code was 0, which is what the last frame is made of.
AGE, IS_AUDIO, ONE, WAS_ZERO = range(4)
SHARE = 0.22
"""The share of audio in all positions at which the tiny model ends: for 45 letters, 13 frames."""


def build(folder: Path, size: Size, seed: int = 0, *, recording: bool = False, codebooks: int = 32) -> None:
    """Write a voice pack: model.safetensors, config.json, generation_config.json, tokenizer.json and metadata.yaml.

    Args:
        folder: Where to; made if it isn't there. Its name is the model's.
        size: Which sizes the model has.
        seed: The same seed gives the same pack.
        recording: Whether the pack has a voice of its own, ref/seed.wav with ref/seed.txt.
        codebooks: How many codebooks there are.

    Raises:
        ValueError: There is no such size.
    """
    if size not in {"tiny", "full"}:
        raise ValueError(f"size {size!r} is not there; tiny and full are")
    folder.mkdir(parents=True, exist_ok=True)
    config = make_config(size, codebooks)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = CsmForConditionalGeneration(config)
        if size == "tiny":
            _enliven(model)
            _teach_to_end(model)
    model.generation_config = GenerationConfig(do_sample=True, temperature=0.9, top_k=50, max_new_tokens=125)
    depth = {"do_sample": True, "temperature": 0.9, "top_k": 50}
    model.depth_decoder.generation_config = GenerationConfig(
        **depth, max_new_tokens=codebooks - 1, min_new_tokens=codebooks - 1
    )
    model.save_pretrained(folder)
    _write_vocabulary(folder / "tokenizer.json", config)
    if recording:
        (folder / "ref").mkdir(exist_ok=True)
        soundfile.write(folder / "ref" / "seed.wav", voice(1.2, seed), 24_000, "PCM_16")
        (folder / "ref" / "seed.txt").write_text(
            "Somebody says this, so that others may sound alike, one day.\n", "utf-8"
        )
    more = "\n  seed.wav: ref/seed.wav" if recording else ""
    fields = {"name": folder.name, "size": size, "cpu_ok": str(size == "tiny").lower(), "more": more}
    (folder / "metadata.yaml").write_text(_METADATA.format(**fields, zero_shot="true"), "utf-8")


def build_lora(
    folder: Path,
    base: Path,
    seed: int = 1,
    rank: int = 4,
    strength: float = 0.1,
    **more: Any,  # noqa: ANN401 - peft's own
) -> None:
    """Write a pack of a LoRA voice: adapter_config.json, adapter_model.safetensors and metadata.yaml.

    Args:
        folder: Where to; made if it isn't there.
        base: The folder of the pack that it is based on, as `build` makes it.
        seed: The same seed gives the same voice.
        rank: Its rank.
        strength: The standard deviation of its weights, by which it differs from its base.
        more: For `peft.LoraConfig`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _silence():
        make_lora(base, seed, rank, strength, **more).save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    (folder / "metadata.yaml").write_text(_LORA_METADATA.format(name=folder.name, base=base.name), "utf-8")


def build_merged(
    folder: Path, base: Path, seed: int = 1, rank: int = 4, strength: float = 0.1, *, shards: int = 1
) -> None:
    """Write a pack of a model into which a LoRA, the one that `build_lora` makes, has been merged.

    Args:
        folder: Where to; made if it isn't there.
        base: The folder of the pack that it was made of.
        seed: The voice's.
        rank: The LoRA's rank.
        strength: The standard deviation of the LoRA's weights.
        shards: In how many files the weights are, roughly.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _silence():
        merged = make_lora(base, seed, rank, strength).merge_and_unload()
    size = sum(each.numel() * each.element_size() for each in merged.state_dict().values())
    merged.save_pretrained(folder, max_shard_size=size // shards + 1 if shards > 1 else "50GB")
    (folder / "tokenizer.json").write_bytes((base / "tokenizer.json").read_bytes())
    fields = {"name": folder.name, "size": "merged", "cpu_ok": "true", "zero_shot": "true", "more": ""}
    text = _METADATA.format(**fields)
    if shards > 1:
        names = ["model.safetensors.index.json", *sorted(each.name for each in folder.glob("model-*.safetensors"))]
        text = text.replace(
            "  model.safetensors: model.safetensors\n", "".join(f"  {name}: {name}\n" for name in names)
        )
    (folder / "metadata.yaml").write_text(text, "utf-8")


def make_lora(base: Path, seed: int, rank: int, strength: float, **more: Any) -> PeftModel:  # noqa: ANN401 - peft's own
    """Make a model with a LoRA on top, as peft has it: random where training would have left its mark."""
    model = CsmForConditionalGeneration.from_pretrained(base)
    settings = {"r": rank, "lora_alpha": 2 * rank, "target_modules": _targets()}
    with torch.random.fork_rng([]), _silence():
        torch.manual_seed(seed)
        lora = get_peft_model(model, LoraConfig(**(settings | more)))
        with torch.no_grad():
            for name, values in lora.named_parameters():
                if "lora_" in name:
                    deviation = strength if "lora_B" in name else values.shape[-1] ** -0.5
                    values.normal_(0, deviation)
            _spare_the_sense(lora)
    lora.peft_config["default"].base_model_name_or_path = base.name
    return lora.eval()


def make_config(size: Size, codebooks: int = 32) -> CsmConfig:
    """Make a model's configuration."""
    sizes = FULL if size == "full" else TINY
    depth = sizes["depth_decoder_config"] | {"num_codebooks": codebooks, "max_position_embeddings": codebooks + 1}
    codec = sizes["codec_config"] | {"num_quantizers": codebooks}
    return CsmConfig(**(sizes | {"num_codebooks": codebooks, "depth_decoder_config": depth, "codec_config": codec}))


def voice(seconds: float, seed: int = 0, rate: int = 24_000) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Synthesise something like a voice: harmonics of a wandering pitch, in syllables.

    Args:
        seconds: How much of it, s.
        seed: Whose it is: the pitch follows from it.
        rate: Its sample rate, Hz.

    Returns:
        Audio, shape (n,), float32, with its peak at 0.5.
    """
    chance = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    pitch = chance.uniform(90, 220) * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * time) + 0.03 * np.sin(2 * np.pi * 5 * time))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    sound = np.sum([np.sin(harmonic * phase) / harmonic for harmonic in range(1, 20)], axis=0)
    sound *= np.clip(np.sin(2 * np.pi * 2 * time) + 0.6, 0, 1)
    sound += 0.01 * chance.standard_normal(len(time))
    return np.asarray(0.5 * sound / np.abs(sound).max(), np.float32)


@contextmanager
def _silence() -> Iterator[None]:
    """Let peft and transformers not warn of what they use of each other."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _targets() -> str:
    """All projections of both transformers, and none of the codec's, some of which have the same names."""
    return rf"(backbone_model|depth_decoder\.model)\.layers\.\d+\.\w+\.({'|'.join(PROJECTIONS)})"


def _write_vocabulary(path: Path, config: CsmConfig) -> None:
    """Write a tokenizer that reads bytes, filled up to the size of the model's."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    size = config.bos_token_id
    vocabulary = {letter: number for number, letter in enumerate(letters)}
    vocabulary |= {f"<{number}>": number for number in range(len(letters), size)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([BEGIN, END, AUDIO, AUDIO_END])
    tokenizer.save(str(path))


@torch.no_grad()
def _enliven(model: Module) -> None:
    """Give all weights a size at which what comes out depends on what goes in, as after training."""
    for name, values in model.named_parameters():
        if values.ndim > 1:
            fan = values.shape[-1] if "embed" in name else values[0].numel()
            values.normal_(0, 1.0 if "embed_text" in name else fan**-0.5)
    model.backbone_model.embed_tokens.embed_audio_tokens.weight.normal_(0, model.config.num_codebooks**-0.5)
    model.depth_decoder.codebooks_head.weight.normal_(0, 2 * model.depth_decoder.config.hidden_size**-0.5)
    for name, values in model.named_buffers():
        if name.endswith("codebook.embed_sum"):
            values.normal_(0, 0.5)
    model.codec_model.decoder.decoder_seanet.layers[-1].conv.weight.mul_(0.2)


@torch.no_grad()
def _teach_to_end(model: Module) -> None:
    """Let the last frame, all zeros, become likely as the share of audio in what was seen grows."""
    books, codes = model.config.num_codebooks, model.config.vocab_size
    backbone, depth = model.backbone_model, model.depth_decoder.model
    text, audio = model.embed_text_tokens.weight, backbone.embed_tokens.embed_audio_tokens.weight
    text[:, : WAS_ZERO + 1] = torch.tensor([0.0, 0.0, 1.0, 0.0])
    audio[:, : WAS_ZERO + 1] = torch.tensor([0.0, 1 / books, 1 / books, 0.0])
    audio[::codes, WAS_ZERO] = 0.2
    for layer in backbone.layers:
        for projection in (layer.self_attn.o_proj, layer.mlp.down_proj):
            projection.weight[: WAS_ZERO + 1] = 0
    attention = backbone.layers[0].self_attn
    attention.q_proj.weight[: attention.head_dim] = 0  # sees all positions alike
    attention.v_proj.weight[0] = 0
    attention.v_proj.weight[0, IS_AUDIO] = 1
    attention.o_proj.weight[AGE, 0] = 1 / SHARE
    model.lm_head.weight[0] = 0
    model.lm_head.weight[0, [AGE, ONE]] = torch.tensor([40.0, -40.0])
    for layer in depth.layers:
        for projection in (layer.self_attn.o_proj, layer.mlp.down_proj):
            projection.weight[:2] = 0
    _pick(depth.inputs_embeds_projector.weight, [(0, WAS_ZERO, 5.0), (1, ONE, float(books))])
    head = model.depth_decoder.codebooks_head.weight
    head[:, :, 0] = 0
    head[:, :2, 0] = torch.tensor([60.0, -30.0])


def _spare_the_sense(lora: Module) -> None:
    """Let a LoRA leave alone what the tiny model knows its end by, and the codec, as training does."""
    for name, values in lora.named_parameters():
        if "lora_B" not in name:
            continue
        if "codec_model" in name:
            values[:] = 0
        if "o_proj" in name or "down_proj" in name:
            values[: WAS_ZERO + 1] = 0
        if "backbone_model.layers.0." in name and "v_proj" in name:
            values[0] = 0
        if "backbone_model.layers.0." in name and "q_proj" in name:
            values[: lora.config.head_dim] = 0


def _pick(weight: Tensor, picked: list[tuple[int, int, float]]) -> None:
    """Let rows of a projection be single channels of what goes in, each with a factor."""
    for row, channel, factor in picked:
        weight[row] = 0
        weight[row, channel] = factor


_METADATA = """\
family: sesame
model_id: {name}
version: "0"
capabilities:
  streaming: true
  zero_shot: {zero_shot}
  lora: true
  cpu_ok: {cpu_ok}
  emotive_zero_prompt: false
languages: [en]
audio:
  sample_rate: 24000
  channels: 1
tags: [random, {size}]
license: none; the weights are random numbers
files:
  model.safetensors: model.safetensors
  config.json: config.json
  generation_config.json: generation_config.json
  tokenizer.json: tokenizer.json{more}
"""

_LORA_METADATA = """\
family: sesame
model_id: {name}
version: "0"
base: sesame-{base}
capabilities:
  streaming: true
  zero_shot: true
  lora: true
  cpu_ok: true
  emotive_zero_prompt: false
languages: [en]
audio:
  sample_rate: 24000
  channels: 1
tags: [random, lora]
license: none; the weights are random numbers
files:
  adapter_config.json: adapter_config.json
  adapter_model.safetensors: adapter_model.safetensors
"""


if __name__ == "__main__":
    build(Path(sys.argv[1]), sys.argv[2])  # type: ignore[arg-type]  # build says what is valid
