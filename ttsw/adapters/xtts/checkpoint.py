"""Reading an XTTS checkpoint: nothing in it is ever run, and what is wrong with it is said in a sentence.

The model is made of the library's classes, without weights of its own, and filled with the file's, one by one: so a
load takes the memory of the weights once. Names in the file are those that the library's own loader takes.
"""

import json
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations

from ttsw.adapters.memory import is_out_of_memory
from ttsw.adapters.xtts.imports import GPT, BaseDatasetConfig, VoiceBpeTokenizer, Xtts, XttsArgs, XttsAudioConfig, XttsConfig
from ttsw.errors import UnavailableError
from ttsw.types import VoicePack

WEIGHTS = ("model.safetensors", "model.pth")

_UNUSED = ("torch_mel_spectrogram_style_encoder", "torch_mel_spectrogram_dvae", "dvae", "gpt.gpt_inference", "gpt.gpt.wte")
"""What training leaves in a checkpoint, and second names that the library gives to weights."""

_SIZES = {
    "layers": "gpt_layers",
    "model_dim": "gpt_n_model_channels",
    "heads": "gpt_n_heads",
    "max_text_tokens": "gpt_max_text_tokens",
    "max_mel_tokens": "gpt_max_audio_tokens",
    "max_prompt_tokens": "gpt_max_prompt_tokens",
    "num_audio_tokens": "gpt_num_audio_tokens",
    "start_audio_token": "gpt_start_audio_token",
    "stop_audio_token": "gpt_stop_audio_token",
    "code_stride_len": "gpt_code_stride_len",
}
"""The transformer's sizes, as its class and as the configuration names them."""


def weights_file(pack: VoicePack) -> Path:
    """Find the file of a pack's weights.

    Raises:
        UnavailableError: There is none.
    """
    return pack_file(pack, *WEIGHTS)


def pack_file(pack: VoicePack, *roles: str) -> Path:
    """Find a pack's file by the first of these roles that it has.

    Raises:
        UnavailableError: It has none.
    """
    for role in roles:
        if role in pack.files:
            return pack.files[role]
    raise UnavailableError(
        f"voice pack {pack.root}: an XTTS-v2 model needs {' or '.join(roles)}; the pack has "
        f"{', '.join(sorted(pack.files)) or 'none'}"
    )


def load_model(pack: VoicePack, device: torch.device) -> Any:  # noqa: ANN401 - the library is untyped
    """Load a pack's model: an `Xtts` in evaluation mode, on its device, as float32.

    Raises:
        UnavailableError: A file isn't what it should be; the text names it, and says what is wrong.
    """
    config = read_config(pack_file(pack, "config.json"))
    vocabulary = pack_file(pack, "vocab.json")
    tokenizer = _read_vocabulary(vocabulary)
    path = weights_file(pack)
    try:
        model = _make(config, tokenizer)
    except (ValueError, TypeError, RuntimeError, ArithmeticError, AssertionError) as error:
        if is_out_of_memory(error):
            raise
        raise UnavailableError(f"{pack_file(pack, 'config.json')} gives sizes that can't be: {error}") from error
    weights = _fitting(model, read_weights(path), path)
    _fill(model, weights, device)
    return model


def read_config(path: Path) -> Any:  # noqa: ANN401 - the library is untyped
    """Read config.json: an `XttsConfig`.

    Raises:
        UnavailableError: It is no XTTS-v2 model's.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
        if not isinstance(found, dict) or found.get("model") != "xtts":
            raise ValueError("its \"model\" must be 'xtts'")
        config = XttsConfig()
        config.from_dict(found)
        args = config.model_args
        if not args.gpt_use_perceiver_resampler:
            raise ValueError("it is XTTS v1's; v2 has model_args.gpt_use_perceiver_resampler: true")
        for owner, name in [(args, size) for size in _SIZES.values()] + [
            (config, name) for name in ("gpt_cond_len", "gpt_cond_chunk_len", "max_ref_len")
        ]:
            if not isinstance(getattr(owner, name), int) or getattr(owner, name) < 1:
                raise ValueError(f"{name} is {getattr(owner, name)!r}, and must be a whole number above 0")
    except (OSError, ValueError, TypeError, AttributeError, LookupError, AssertionError) as error:
        raise UnavailableError(f"{path} is not the configuration of an XTTS-v2 model: {error}") from error
    return config


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read weights by name; they stay in the file until they are looked at, where its format allows that.

    Args:
        path: A .safetensors file, or one that torch has saved.

    Raises:
        UnavailableError: It can't be read, or holds more than weights.
    """
    found = _read(path)
    state = found.get("model", found) if isinstance(found, Mapping) else found
    if not isinstance(state, Mapping) or not all(isinstance(each, Tensor) for each in state.values()):
        raise UnavailableError(f"{path} holds no weights by name, but a {type(state).__name__}")
    named = {str(name).removeprefix("xtts."): values for name, values in state.items()}
    return {name: values for name, values in named.items() if not name.startswith(_UNUSED)}


def load_safely(path: Path) -> Any:  # noqa: ANN401 - what is in the file
    """Load what torch has saved, of which nothing is run: tensors, plain values, and Coqui's own configuration.

    Raises:
        UnavailableError: It can't be read, or holds more than that.
    """
    try:
        with torch.serialization.safe_globals(_known_classes()):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise UnavailableError(f"{path} holds more than weights, or is damaged, and is not read: {_line(error)}") from error
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise UnavailableError(f"{path} is no file of weights, or it is damaged: {_line(error)}") from error


def _read(path: Path) -> Any:  # noqa: ANN401 - what is in the file
    if path.suffix != ".safetensors":
        return load_safely(path)
    from safetensors import SafetensorError  # noqa: PLC0415 - where a pack has such a file
    from safetensors.torch import load_file  # noqa: PLC0415

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise UnavailableError(f"{path} is no file of weights, or it is damaged: {_line(error)}") from error


def _known_classes() -> list[Any]:
    """What Coqui's own checkpoint holds beside weights: its configuration, under its names of then."""
    then = "TTS.tts.models.xtts"
    moved = [(kind, f"{then}.{kind.__name__}") for kind in (XttsArgs, XttsAudioConfig)]
    return [XttsConfig, XttsArgs, XttsAudioConfig, BaseDatasetConfig, *moved]


def _make(config: Any, tokenizer: Any) -> Any:  # noqa: ANN401 - the library is untyped
    """Make the model. The transformer, which is nearly all of it, gets no memory for weights before it gets weights."""
    config.model_args.gpt_number_text_tokens = None  # then it isn't made with the rest
    model = Xtts(config)
    model.tokenizer = tokenizer
    with torch.device("meta"):
        model.gpt = GPT(
            **{name: getattr(config.model_args, key) for name, key in _SIZES.items()},
            start_text_token=tokenizer.tokenizer.token_to_id("[START]"),
            stop_text_token=tokenizer.tokenizer.token_to_id("[STOP]"),
            number_text_tokens=tokenizer.get_number_tokens(),
            use_perceiver_resampler=True,
        )
    return model


def _fitting(model: Any, weights: dict[str, Tensor], path: Path) -> dict[str, Tensor]:  # noqa: ANN401 - untyped
    """Give the weights by the model's names.

    Raises:
        UnavailableError: They are not of this model.
    """
    wanted = {name: tuple(values.shape) for name, values in model.state_dict().items()}
    found = {_modern(name): values for name, values in weights.items()}
    # the library has these masks with some versions of transformers, and not with others
    found = {name: values for name, values in found.items() if name in wanted or not name.endswith(("attn.bias", "masked_bias"))}
    missing, more = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    shapes = {name: tuple(values.shape) for name, values in found.items()}
    wrong = [
        f"{name} is {shapes[name]} and must be {shape}"
        for name, shape in wanted.items()
        if shapes.get(name, shape) != shape
    ]
    faults = [f"it lacks {_some(missing)}"] * bool(missing) + [f"it has {_some(more)}, which no such model has"] * bool(more)
    faults += [_some(wrong, "; ")] * bool(wrong)
    if faults:
        raise UnavailableError(f"{path} is not of the model that config.json and vocab.json describe: {'; '.join(faults)}")
    return found


def _fill(model: Any, weights: dict[str, Tensor], device: torch.device) -> None:  # noqa: ANN401 - untyped
    """Move the weights where they belong, one by one, and leave away what speaking doesn't need."""
    for name in list(weights):
        values = weights.pop(name)
        kind = torch.float32 if values.is_floating_point() else values.dtype
        weights[name] = values.to(device, kind, copy=True)
    model.load_state_dict(weights, strict=True, assign=True)
    model.gpt.text_head = None  # it is for training
    for module in [each for each in model.modules() if is_parametrized(each, "weight")]:
        remove_parametrizations(module, "weight")
    model.requires_grad_(requires_grad=False)
    model.train(mode=False)  # `eval` would make the library's own loop, which isn't needed


def _modern(name: str) -> str:
    """A weight's name as torch names it now: weight norm has become a parametrization."""
    if name.endswith((".weight_g", ".weight_v")):
        return f"{name[:-9]}.parametrizations.weight.original{int(name.endswith('v'))}"
    return name


def _read_vocabulary(path: Path) -> Any:  # noqa: ANN401 - the library is untyped
    try:
        tokenizer = VoiceBpeTokenizer(vocab_file=path)
        lacking = [each for each in ("[START]", "[STOP]", "[SPACE]") if tokenizer.tokenizer.token_to_id(each) is None]
    except Exception as error:  # the tokenizers' errors have no class of their own
        raise UnavailableError(f"{path} is no vocabulary of a tokenizer: {_line(error)}") from error
    if lacking:
        raise UnavailableError(f"{path} is not the vocabulary of an XTTS model: it lacks {', '.join(lacking)}")
    return tokenizer


def _some(names: list[str], separator: str = ", ") -> str:
    return separator.join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300] or type(error).__name__
