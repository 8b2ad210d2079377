"""What the configurations of a CSM and of a LoRA for one say, read in one way by those who add and load them.

What peft can do beyond plain LoRA is refused with a word on what to do instead, rather than left out unheard. What
needs the library, or the weights, is left to the family's adapter.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ttsw.errors import InvalidArgumentError
from ttsw.formats.json_file import read_json

LORA_CONFIG = "adapter_config.json"
LORA_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")

MODEL_CONFIG, TOKENIZER = "config.json", "tokenizer.json"
MODEL_WEIGHTS = ("transformers.safetensors.index.json", "model.safetensors.index.json", "model.safetensors")
"""Names of a model's weights, or of the index of them; the first that is there counts."""

MERGE = (
    "merge it into its base (Unsloth: save_pretrained_merged, peft: merge_and_unload), and make the whole a voice pack "
    "of its own"
)

_BEYOND = {
    "use_dora": "DoRA",
    "use_qalora": "QALoRA",
    "use_bdlora": "BD-LoRA",
    "lora_bias": "biases of its factors",
    "modules_to_save": "whole modules (modules_to_save)",
    "target_parameters": "parameters (target_parameters)",
    "trainable_token_indices": "single tokens (trainable_token_indices)",
    "layer_replication": "layers in another order (layer_replication)",
    "alora_invocation_tokens": "tokens that switch it on (aLoRA)",
    "fan_in_fan_out": "transposed weights (fan_in_fan_out)",
    "arrow_config": "Arrow",
    "kasa_config": "KaSA",
    "monteclora_config": "MonteCLoRA",
    "velora_config": "VeLoRA",
}


def read_names(path: Path, what: str) -> dict[str, Any]:
    """Read a JSON file that holds values by name.

    Args:
        path: The file.
        what: What it should be, for the error: "the configuration of a CSM".

    Raises:
        InvalidArgumentError: It is none.
        UnavailableError: The system doesn't let us read it.
    """
    try:
        found = read_json(path)
    except ValueError as error:
        raise InvalidArgumentError(f"{path} is not {what}: {error}") from error
    if not isinstance(found, dict):
        raise InvalidArgumentError(f"{path} is not {what}: it holds no names")
    return found


def read_csm(path: Path) -> dict[str, Any]:
    """Read the configuration of a CSM.

    Raises:
        InvalidArgumentError: It is another model's, or of a kind that can't be loaded.
        UnavailableError: The system doesn't let us read it.
    """
    found = read_names(path, "the configuration of a CSM")
    if found.get("model_type") != "csm":
        raise InvalidArgumentError(f"{path} is not the configuration of a CSM: its \"model_type\" must be 'csm'")
    if "quantization_config" in found:
        raise InvalidArgumentError(f"{path} is of quantised weights; use the model in 16 or 32 bits")
    codec = found.get("codec_config")
    if not isinstance(codec, Mapping) or codec.get("model_type") != "mimi":
        raise InvalidArgumentError(f"{path} has no codec that is known: codec_config must have the model_type 'mimi'")
    return found


def read_lora_settings(path: Path) -> dict[str, Any]:
    """Read the configuration of a LoRA, as peft and Unsloth write it.

    Raises:
        InvalidArgumentError: It is none, or of more than plain LoRA; the text says which.
        UnavailableError: The system doesn't let us read it.
    """
    what = "the configuration of a LoRA"
    found = read_names(path, what)
    if found.get("peft_type") != "LORA":
        raise InvalidArgumentError(f"{path} is not {what}: its \"peft_type\" is {found.get('peft_type')!r}, not 'LORA'")
    if found.get("bias", "none") != "none":
        raise InvalidArgumentError(f"{path}: a LoRA with bias {found['bias']!r} isn't spoken with; {MERGE}")
    for name, beyond in _BEYOND.items():
        if found.get(name):
            raise InvalidArgumentError(f"{path}: a LoRA with {beyond} isn't spoken with; {MERGE}")
    if not _is_rank(found.get("r")) or not _is_number(found.get("lora_alpha")):
        raise InvalidArgumentError(f"{path} is not {what}: it gives no r and lora_alpha that can be")
    _check_patterns(path, "rank_pattern", found.get("rank_pattern"), _is_rank)
    _check_patterns(path, "alpha_pattern", found.get("alpha_pattern"), _is_number)
    return found


def _check_patterns(path: Path, name: str, patterns: object, is_value: Any) -> None:  # noqa: ANN401 - a predicate
    if patterns is None:
        return
    if not isinstance(patterns, Mapping) or not all(map(is_value, patterns.values())):
        raise InvalidArgumentError(f"{path}: its {name} must give numbers by patterns of names")
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise InvalidArgumentError(f"{path}: {name} has {pattern[:40]!r}, which is no pattern: {error}") from error


def _is_rank(value: object) -> bool:
    return type(value) is int and 1 <= value <= 100_000


def _is_number(value: object) -> bool:
    return type(value) in {int, float} and math.isfinite(value) and abs(value) <= 1e6  # type: ignore[arg-type]
