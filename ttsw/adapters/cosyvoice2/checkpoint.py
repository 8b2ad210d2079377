"""The model of a voice pack: the library's modules, filled with the weights of its files.

Modules are made without memory of their own and get the files' weights one by one, in the precision that the device
is used with. What doesn't fit is told by name and shape; how the files are read is `definition`'s and `weights`'.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations

from ttsw.adapters.cosyvoice2.definition import read_definition
from ttsw.adapters.cosyvoice2.imports import Qwen2Config
from ttsw.adapters.cosyvoice2.modules import CosyVoiceModules, make_model
from ttsw.adapters.memory import is_out_of_memory
from ttsw.adapters.pytorch.weights import check_fit, first_line, load_file, pack_file
from ttsw.errors import UnavailableError
from ttsw.formats.json_file import read_json
from ttsw.types import VoicePack

DEFINITION = "cosyvoice2.yaml"
NOISE_FRAMES = 50 * 300
"""Frames that the library has noise for, 5 minutes of them: the prompt's and what is said."""


def load_model(pack: VoicePack, device: torch.device) -> CosyVoiceModules:
    """Load a pack's model.

    Raises:
        UnavailableError: A file isn't what it should be; the text names it, and says what is wrong.
    """
    path, config_path = pack_file(pack, DEFINITION), pack_file(pack, "text_config.json")
    parts = {part: pack_file(pack, f"{part}.pt") for part in ("llm", "flow", "hift")}
    definition = read_definition(path)
    config = read_config(config_path)
    try:
        with torch.device("meta"):
            model = make_model(definition, config)
    except Exception as error:  # the library's constructors check nothing, and fail as it comes
        if is_out_of_memory(error):
            raise
        raise UnavailableError(f"{path} gives what can't be: {first_line(error)}") from error
    half = device.type == "cuda"  # as the library's fp16: all but the vocoder
    for part, file in parts.items():
        module: Module = getattr(model, part)
        kind = torch.float16 if half and part != "hift" else torch.float32
        names = "text_config.json and cosyvoice2.yaml" if part == "llm" else "cosyvoice2.yaml"
        _fill(module, _read_weights(file), file, names=names, device=device, kind=kind)
    text = model.llm.llm.model.model
    text.rotary_emb = type(text.rotary_emb)(config=config).to(device).eval()  # made without memory, and in no file
    # of the library's own stream: what its generator of chance gives first with the seed that it sets
    chance = torch.Generator().manual_seed(0)
    model.flow.decoder.rand_noise = torch.randn(1, 80, NOISE_FRAMES, generator=chance).to(device)
    return model


def read_config(path: Path) -> Qwen2Config:
    """Read the configuration of the text model.

    Raises:
        UnavailableError: It is none of a Qwen2 model.
    """
    try:
        return _config(read_json(path))
    except (ValueError, TypeError, AttributeError) as error:
        raise UnavailableError(f"{path} is not the configuration of a Qwen2 model: {error}") from error


def _config(found: object) -> Qwen2Config:
    if not isinstance(found, dict) or found.get("model_type") != "qwen2":
        raise ValueError("its \"model_type\" must be 'qwen2'")
    if found.get("use_sliding_window"):
        raise ValueError("it has a sliding window, which no model of this family has")
    for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"):
        if type(found.get(name)) is not int or found[name] < 1:
            raise ValueError(f"{name} is {found.get(name)!r}, and must be a whole number above 0")
    return Qwen2Config(**{name: value for name, value in found.items() if name != "auto_map"})


def _read_weights(path: Path) -> dict[str, Tensor]:
    found = load_file(path)
    if not isinstance(found, Mapping):
        raise UnavailableError(f"{path} holds no weights by name, but a {type(found).__name__}")
    left = {str(name): values for name, values in found.items() if name not in {"epoch", "step"}}  # of training
    if not all(isinstance(each, Tensor) for each in left.values()):
        raise UnavailableError(f"{path} holds no weights by name, but other things too")
    return {_modern(name.removeprefix("generator.")): values for name, values in left.items()}


def _fill(
    module: Module, weights: dict[str, Tensor], path: Path, *, names: str, device: torch.device, kind: torch.dtype
) -> None:
    """Give a module its weights, one by one.

    Raises:
        UnavailableError: They are not this model's.
    """
    unused = "llm.model.lm_head.weight"  # of the text model; most often the same tensor as its embedding
    weights.pop(unused, None)
    if isinstance(getattr(module, "llm", None), Module):
        module.llm.model.lm_head = None
    wanted = {name: tuple(values.shape) for name, values in module.state_dict().items()}
    check_fit(wanted, weights, path, names)
    for name in list(weights):
        values = weights.pop(name)
        weights[name] = values.to(device, kind if values.is_floating_point() else values.dtype, copy=True)
    module.load_state_dict(weights, strict=True, assign=True)
    for each in [each for each in module.modules() if is_parametrized(each, "weight")]:
        remove_parametrizations(each, "weight")
    module.requires_grad_(requires_grad=False)
    module.train(mode=False)


def _modern(name: str) -> str:
    """A weight's name as torch names it now: weight norm has become a parametrization."""
    if name.endswith((".weight_g", ".weight_v")):
        return f"{name[:-9]}.parametrizations.weight.original{int(name.endswith('v'))}"
    return name
