"""A LoRA as peft and Unsloth write it: read safely, and checked against the model that it is to be based on.

What peft can do beyond plain LoRA is refused with a word on what to do instead, rather than left out unheard.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ttsw.adapters.pytorch.weights import load_file
from ttsw.adapters.sesame.checkpoint import Csm
from ttsw.adapters.sesame.frames import BACKBONE, DEPTH, HEAD
from ttsw.adapters.sesame.loras import Pair
from ttsw.errors import InvalidArgumentError, UnavailableError
from ttsw.formats.csm_files import LORA_CONFIG, LORA_WEIGHTS, MERGE, read_lora_settings

CODEC = "codec_model."

_LAYER = re.compile(
    rf"(?:{re.escape(BACKBONE)}|{re.escape(DEPTH)})"
    r"layers\.\d+\.(?:self_attn\.[qkvo]_proj|mlp\.(?:gate|up|down)_proj)"
)
_SINGLE = (HEAD, f"{DEPTH}inputs_embeds_projector")

_NAME = re.compile(r"(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<factor>[AB])(?:\.[^.]+)?\.weight")


def find_lora(files: Mapping[str, Path], where: Path) -> tuple[Path, Path]:
    """Find a LoRA's two files.

    Args:
        files: What there is, by role.
        where: The folder, for the error.

    Raises:
        UnavailableError: It isn't one.
    """
    weights = next((files[name] for name in LORA_WEIGHTS if name in files), None)
    if LORA_CONFIG not in files or weights is None:
        raise UnavailableError(
            f"{where} is no LoRA as peft writes it: it needs {LORA_CONFIG} and {' or '.join(LORA_WEIGHTS)}, and has "
            f"{', '.join(sorted(files)) or 'none of them'}"
        )
    return files[LORA_CONFIG], weights


def read_lora(config: Path, weights: Path, model: Csm) -> dict[str, Pair]:
    """Read a LoRA: of each projection, by its full name, what is added to it.

    Raises:
        UnavailableError: It can't be read, is of another model, or is more than plain LoRA; the text says which.
    """
    try:
        settings = read_lora_settings(config)
    except InvalidArgumentError as error:
        raise UnavailableError(str(error)) from error
    found = load_file(weights)
    if not isinstance(found, Mapping) or not all(isinstance(each, Tensor) for each in found.values()):
        raise UnavailableError(f"{weights} holds no weights by name, but a {type(found).__name__}")
    factors: dict[str, dict[str, Tensor]] = {}
    for name, values in found.items():
        named = _NAME.fullmatch(str(name))
        if named is None:
            raise UnavailableError(f"{weights} has {name}, which is no part of a plain LoRA; {MERGE}")
        if not bool(values.isfinite().all()):
            raise UnavailableError(f"{weights} is damaged: {name} holds values that are not finite")
        factors.setdefault(named["module"], {})[named["factor"]] = values
    if not factors:
        raise UnavailableError(f"{weights} holds nothing")
    shapes = {name: tuple(values.shape) for name, values in model.state_dict().items()}
    base = settings.get("base_model_name_or_path")
    pairs = {}
    for module, parts in factors.items():
        if (pair := _pair(module, parts, weights)) is None:
            continue
        _check_shapes(module, pair, shapes.get(f"{module}.weight"), weights, base)
        rank = _by_pattern(settings.get("rank_pattern"), module, settings["r"])
        if len(pair[0]) != rank:
            raise UnavailableError(f"{weights}: {module} has rank {len(pair[0])}, but {config} says {rank}")
        alpha = _by_pattern(settings.get("alpha_pattern"), module, settings["lora_alpha"])
        scaling = alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank)
        pairs[module] = pair[0], (pair[1].float() * scaling).T.contiguous()
    if not pairs:
        raise UnavailableError(f"{weights} changes nothing: all of its factors are 0")
    return pairs


def _pair(module: str, parts: Mapping[str, Tensor], weights: Path) -> Pair | None:
    """Give both factors of a module; None where they are a projection's that takes no part, and change nothing."""
    if parts.keys() != {"A", "B"}:
        raise UnavailableError(f"{weights} is damaged: {module} has only one of its two factors")
    if module.startswith(CODEC):
        # peft finds modules by their names' ends, and the codec has some of the same; training leaves them untouched
        if bool((parts["B"] == 0).all()):
            return None
        raise UnavailableError(f"{weights} changes the codec ({module}), which all voices share; {MERGE}")
    if module not in _SINGLE and not _LAYER.fullmatch(module):
        raise UnavailableError(
            f"{weights} changes {module}, which isn't a projection that a LoRA can change here; {MERGE}"
        )
    return parts["A"], parts["B"]


def _check_shapes(module: str, pair: Pair, wanted: tuple[int, ...] | None, weights: Path, base: object) -> None:
    down, up = pair
    fits = wanted is not None and down.ndim == up.ndim == 2 and (len(up), down.shape[1]) == wanted
    if not fits:
        given = "there is none" if wanted is None else f"it is {wanted}"
        raise UnavailableError(
            f"{weights} is a LoRA of another model (of {base!r}, it says): it changes {module} with factors of "
            f"{tuple(up.shape)} and {tuple(down.shape)}, but in this model {given}"
        )
    if down.shape[0] != up.shape[1]:
        raise UnavailableError(
            f"{weights} is damaged: the factors of {module} have ranks {down.shape[0]} and {up.shape[1]}"
        )


def _by_pattern(patterns: object, module: str, otherwise: float) -> Any:  # noqa: ANN401 - an int or a float, as it is there
    """Give a module's own value, where there is one: as peft does, the first pattern that the name ends with."""
    if isinstance(patterns, Mapping):
        for pattern, value in patterns.items():
            if re.fullmatch(rf"(.*\.)?({pattern})", module):
                return value
    return otherwise


def lora_bytes(pairs: Mapping[str, Pair], kind: torch.dtype) -> int:
    """Say what memory a LoRA's factors take as numbers of a type."""
    return sum(each.numel() for pair in pairs.values() for each in pair) * kind.itemsize
