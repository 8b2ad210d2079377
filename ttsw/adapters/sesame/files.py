"""A model's files, read so that nothing in them is ever run, and with a sentence for each fault."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from torch import Tensor

from ttsw.adapters.memory import raise_machine_fault
from ttsw.adapters.pytorch.weights import first_line, load_file, pack_file
from ttsw.adapters.sesame.imports import CsmConfig
from ttsw.adapters.sesame.sampling import CsmSampling, SamplingDefaults
from ttsw.errors import InvalidArgumentError, UnavailableError
from ttsw.formats.csm_files import LORA_CONFIG, MODEL_WEIGHTS, read_csm, read_names
from ttsw.types import VoicePack

BEGIN, END = "<|begin_of_text|>", "<|end_of_text|>"

TEMPERATURE, TOP_K = 0.9, 50
"""Where a pack doesn't say otherwise: as Sesame draws."""

_KEPT_OUT = ("attn_implementation", "experts_implementation", "auto_map", "transformers_weights")
"""What would have the library fetch code or kernels from elsewhere; `_attn_implementation` is one of these, too."""

_STEADY = ("default", "linear", "llama3", "yarn")
"""Kinds of rotary positions that don't change with the length of what was seen."""


def read_config(path: Path) -> CsmConfig:
    """Read config.json.

    Raises:
        UnavailableError: It is no CSM's, or its parts don't fit each other.
    """
    try:
        found = read_csm(path)
    except InvalidArgumentError as error:
        raise UnavailableError(str(error)) from error
    parts = {name: _plain(found.get(name) or {}) for name in ("codec_config", "depth_decoder_config")}
    try:
        config = CsmConfig.from_dict(_plain(found) | parts)
        fault = next(_faults(config), "")
    except Exception as error:  # the library's checks have no class of their own
        said = " ".join(str(error).split())[:300]
        raise UnavailableError(f"{path} is not the configuration of a CSM: {said}") from error
    if fault:
        raise UnavailableError(f"{path} gives sizes that don't fit each other: {fault}")
    return config


def read_draws(pack: VoicePack) -> SamplingDefaults:
    """Read how codes are drawn from generation_config.json, if there is one.

    Raises:
        UnavailableError: It is none.
    """
    path = pack.files.get("generation_config.json")
    found = {} if path is None else _read_json(path, "a configuration of how to generate")
    try:
        return SamplingDefaults(_how(found, ""), _how(found, "depth_decoder_"))
    except (TypeError, ValueError) as error:
        raise UnavailableError(f"{path} has a temperature or top_k that is none: {error}") from error


def read_weights(pack: VoicePack) -> tuple[Path, dict[str, Tensor]]:
    """Read a pack's weights, which stay in their files until they are looked at.

    Returns:
        The file that names them, and they by name.

    Raises:
        UnavailableError: A file is missing or damaged.
    """
    path = weights_file(pack)
    if path.suffix != ".json":
        return path, _load(path)
    found = _read_json(path, "an index of weights").get("weight_map")
    if not isinstance(found, Mapping) or not found or not all(isinstance(each, str) for each in found.values()):
        raise UnavailableError(f'{path} is no index of weights: its "weight_map" must say which file each weight is in')
    weights: dict[str, Tensor] = {}
    for name in sorted(set(found.values())):
        weights |= _load(_shard(path, name, pack))
    return path, weights


def weights_file(pack: VoicePack) -> Path:
    """Find the file of a pack's weights, or the index of them.

    Raises:
        UnavailableError: There is none.
    """
    if LORA_CONFIG in pack.files and not any(name in pack.files for name in MODEL_WEIGHTS):
        raise UnavailableError(
            f"voice pack {pack.root} is a LoRA, and no model by itself: its metadata.yaml must name the model that it "
            f"was made for, base: sesame-<name>"
        )
    return pack_file(pack, *MODEL_WEIGHTS)


def read_tokenizer(path: Path, config: CsmConfig) -> Tokenizer:
    """Read tokenizer.json.

    Raises:
        UnavailableError: It is no tokenizer's, or not that of this model.
    """
    try:
        tokenizer = Tokenizer.from_file(str(path))
        lacking = [mark for mark in (BEGIN, END) if tokenizer.token_to_id(mark) is None]
    except Exception as error:  # the tokenizers' errors have no class of their own
        raise_machine_fault(error, f"{path} cannot be read")
        raise UnavailableError(f"{path} is no tokenizer: {first_line(error)}") from error
    if lacking:
        raise UnavailableError(f"{path} is not the tokenizer of a CSM: it lacks {', '.join(lacking)}")
    highest = max(tokenizer.get_vocab(with_added_tokens=True).values())
    if highest >= config.text_vocab_size:
        raise UnavailableError(
            f"{path} has tokens up to {highest}, but the model's config.json says text_vocab_size "
            f"{config.text_vocab_size}: they aren't of the same model"
        )
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True  # what a client writes is text, even if it is written like a mark
    return tokenizer


def _read_json(path: Path, what: str) -> dict[str, Any]:
    try:
        return read_names(path, what)
    except InvalidArgumentError as error:
        raise UnavailableError(str(error)) from error


def _plain(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name.lstrip("_") not in _KEPT_OUT}


def _faults(config: CsmConfig) -> Iterator[str]:
    depth, codec = config.depth_decoder_config, config.codec_config
    books = config.num_codebooks
    sizes = {
        "num_codebooks of the depth decoder": (depth.num_codebooks, books, "num_codebooks"),
        "num_quantizers of the codec": (codec.num_quantizers, books, "num_codebooks"),
        "vocab_size of the depth decoder": (depth.vocab_size, config.vocab_size, "vocab_size"),
        "backbone_hidden_size of the depth decoder": (depth.backbone_hidden_size, config.hidden_size, "hidden_size"),
    }
    for name, (found, wanted, meaning) in sizes.items():
        if found != wanted:
            yield f"{name} is {found}, and must be {wanted}, the model's {meaning}"
    for name in (
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "text_vocab_size",
        "max_position_embeddings",
    ):
        if getattr(config, name) < 1:
            yield f"{name} is {getattr(config, name)}"
    if books < 2 or config.vocab_size <= codec.codebook_size:
        yield f"vocab_size {config.vocab_size} has no room for the codec's codebook_size {codec.codebook_size}"
    if not isinstance(config.codebook_eos_token_id, int) or not 0 <= config.codebook_eos_token_id < codec.codebook_size:
        yield f"codebook_eos_token_id {config.codebook_eos_token_id} is no code of the codec"
    for part in (config, depth):
        if part.rope_parameters["rope_type"] not in _STEADY:
            yield f"rope_type {part.rope_parameters['rope_type']!r} isn't known; {', '.join(_STEADY)} are"
        if part.hidden_act != "silu" or part.mlp_bias:
            yield "layers other than those of Llama (hidden_act silu, mlp_bias false) aren't known"
    if not codec.use_causal_conv or codec.pad_mode != "constant" or codec.trim_right_ratio != 1.0:
        yield "a codec that can't stream: use_causal_conv, pad_mode constant and trim_right_ratio 1 are needed"


def _how(found: Mapping[str, Any], prefix: str) -> CsmSampling:
    drawn = found.get(f"{prefix}do_sample") is not False
    temperature = found.get(f"{prefix}temperature")
    top_k = found.get(f"{prefix}top_k")
    how = CsmSampling(
        float(TEMPERATURE if temperature is None else temperature),
        int(TOP_K if top_k is None else top_k) if drawn else 1,
    )
    if not 0 < how.temperature < 100 or how.top_k < 0:
        raise ValueError(f"temperature {how.temperature}, top_k {how.top_k}")
    return how


def _shard(index: Path, name: str, pack: VoicePack) -> Path:
    if name in pack.files:
        return pack.files[name]
    path = index.parent / name
    if Path(name).name != name or not name.endswith(".safetensors") or not path.is_file():
        raise UnavailableError(f"{index} says that weights are in {name!r}, which isn't beside it")
    return path


def _load(path: Path) -> dict[str, Tensor]:
    found = load_file(path)
    assert isinstance(found, dict)
    return found
