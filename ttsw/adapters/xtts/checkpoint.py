"""Reading an XTTS checkpoint: nothing in it is ever run, and what is wrong with it is said in a sentence."""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ttsw.adapters.memory import is_out_of_memory
from ttsw.adapters.xtts.imports import prepare_imports
from ttsw.errors import UnavailableError
from ttsw.types import VoicePack

prepare_imports()

from TTS.config.shared_configs import BaseDatasetConfig  # noqa: E402
from TTS.tts.configs.xtts_config import XttsArgs, XttsAudioConfig, XttsConfig  # noqa: E402
from TTS.tts.layers.xtts.gpt import GPT  # noqa: E402
from TTS.tts.layers.xtts.tokenizer import VoiceBpeTokenizer  # noqa: E402
from TTS.tts.models.xtts import Xtts  # noqa: E402

WEIGHTS = ("model.safetensors", "model.pth")
_UNUSED = ("torch_mel_spectrogram_style_encoder", "torch_mel_spectrogram_dvae", "dvae", "gpt.gpt_inference", "gpt.gpt.wte")
"""What training leaves in a checkpoint, and names that Coqui's library gives to the same weights once more."""


def weights_file(pack: VoicePack) -> Path:
    """Find the file of a pack's weights.

    Raises:
        UnavailableError: There is none.
    """
    return _file(pack, *WEIGHTS)


def load_model(pack: VoicePack, device: torch.device) -> Xtts:
    """Load a pack's model, in evaluation mode, as float32.

    Raises:
        UnavailableError: A file isn't what it should be; the text names it.
    """
    config = read_config(_file(pack, "config.json"))
    tokenizer = _read_vocabulary(_file(pack, "vocab.json"))
    config.model_args.gpt_number_text_tokens = None  # then the GPT isn't made yet, with random weights
    model = Xtts(config)
    model.tokenizer, model.gpt = tokenizer, _make_gpt(config.model_args, tokenizer)
    path = weights_file(pack)
    weights = read_weights(path, mapped=device.type != "cpu")
    _fill(model, {name.removeprefix("xtts."): tensor for name, tensor in weights.items()}, path)
    model.hifigan_decoder.waveform_decoder.remove_weight_norm()
    model.eval().requires_grad_(False)
    return model.to(device)


def read_config(path: Path) -> XttsConfig:
    """Read config.json.

    Raises:
        UnavailableError: It is none of an XTTS model's.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
        if found.get("model") != "xtts":
            raise ValueError(f"its \"model\" is {found.get('model')!r}, and must be 'xtts'")
        config = XttsConfig()
        config.from_dict(found)
        if not config.model_args.gpt_use_perceiver_resampler:
            raise ValueError("it is of XTTS v1; v2 has model_args.gpt_use_perceiver_resampler: true")
    except (OSError, ValueError, TypeError, AttributeError, KeyError, AssertionError) as error:
        raise UnavailableError(f"{path} is not the configuration of an XTTS-v2 model: {error}") from error
    return config


def read_weights(path: Path, *, mapped: bool = False) -> dict[str, torch.Tensor]:
    """Read weights by name, to main memory.

    Args:
        path: A .safetensors file, or one that torch has saved.
        mapped: Whether to leave them in the file until they are looked at; for those that go to a GPU.

    Raises:
        UnavailableError: It can't be read, or holds more than weights.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file  # noqa: PLC0415

            weights: dict[str, torch.Tensor] = load_file(path)
            return weights
        with torch.serialization.safe_globals(_known_classes()):
            try:
                found = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
            except RuntimeError:  # torch's format of before 2020 can't be mapped
                found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnavailableError(
            f"{path} holds more than weights, which could run as code, and is not read: {_first_line(error)}"
        ) from error
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise UnavailableError(f"{path} is no file of weights, or it is damaged: {_first_line(error)}") from error
    state = found.get("model", found) if isinstance(found, dict) else found
    if not isinstance(state, Mapping) or not all(isinstance(each, torch.Tensor) for each in state.values()):
        raise UnavailableError(f"{path} holds no weights by name: a {type(state).__name__}")
    return dict(state)


def _known_classes() -> list[Any]:
    """What Coqui's own checkpoint has beside weights: its configuration, under the names of then."""
    then = "TTS.tts.models.xtts"
    return [
        XttsConfig,
        XttsArgs,
        XttsAudioConfig,
        BaseDatasetConfig,
        (XttsArgs, f"{then}.XttsArgs"),
        (XttsAudioConfig, f"{then}.XttsAudioConfig"),
    ]


def _fill(model: Xtts, weights: dict[str, torch.Tensor], path: Path) -> None:
    weights = {name: tensor for name, tensor in weights.items() if not name.startswith(_UNUSED)}
    wanted = {name: tensor.shape for name, tensor in model.state_dict().items() if not name.startswith(_UNUSED)}
    # the library keeps these masks with some versions of transformers, and not with others
    weights = {name: tensor for name, tensor in weights.items() if name in wanted or ".attn." not in name}
    names = {_modern(name) for name in weights}
    missing, more = sorted(wanted.keys() - names), sorted(names - wanted.keys())
    if missing or more:
        faults = [f"lacks {_some(missing)}"] * bool(missing) + [f"has {_some(more)} that no such model has"] * bool(more)
        raise UnavailableError(f"{path} is not of the model that config.json describes: it {' and '.join(faults)}")
    wrong = [
        f"{name} is {tuple(tensor.shape)} and must be {tuple(wanted[_modern(name)])}"
        for name, tensor in weights.items()
        if tensor.shape != wanted[_modern(name)]
    ]
    if wrong:
        raise UnavailableError(f"{path} is not of the model that config.json describes: {'; '.join(wrong[:3])}")
    floats = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in weights.items()}
    model.load_state_dict(floats, strict=False, assign=True)


def _modern(name: str) -> str:
    """Give a weight's name as torch names it now: weight norm has become a parametrization."""
    if name.endswith((".weight_g", ".weight_v")):
        return f"{name[:-9]}.parametrizations.weight.original{int(name.endswith('v'))}"
    return name


def _make_gpt(args: XttsArgs, tokenizer: VoiceBpeTokenizer) -> GPT:
    """Make the GPT without memory for its weights: it gets those of the file."""
    with torch.device("meta"):
        return GPT(
            layers=args.gpt_layers,
            model_dim=args.gpt_n_model_channels,
            start_text_token=tokenizer.tokenizer.token_to_id("[START]"),
            stop_text_token=tokenizer.tokenizer.token_to_id("[STOP]"),
            heads=args.gpt_n_heads,
            max_text_tokens=args.gpt_max_text_tokens,
            max_mel_tokens=args.gpt_max_audio_tokens,
            max_prompt_tokens=args.gpt_max_prompt_tokens,
            number_text_tokens=tokenizer.get_number_tokens(),
            num_audio_tokens=args.gpt_num_audio_tokens,
            start_audio_token=args.gpt_start_audio_token,
            stop_audio_token=args.gpt_stop_audio_token,
            use_perceiver_resampler=args.gpt_use_perceiver_resampler,
            code_stride_len=args.gpt_code_stride_len,
        )


def _read_vocabulary(path: Path) -> VoiceBpeTokenizer:
    try:
        tokenizer = VoiceBpeTokenizer(vocab_file=path)
        lacking = [each for each in ("[START]", "[STOP]", "[SPACE]") if tokenizer.tokenizer.token_to_id(each) is None]
    except Exception as error:  # the tokenizers' errors have no class of their own
        raise UnavailableError(f"{path} is no vocabulary of a tokenizer: {_first_line(error)}") from error
    if lacking:
        raise UnavailableError(f"{path} is not the vocabulary of an XTTS model: it lacks {', '.join(lacking)}")
    return tokenizer


def _file(pack: VoicePack, *roles: str) -> Path:
    for role in roles:
        if role in pack.files:
            return pack.files[role]
    raise UnavailableError(f"voice pack {pack.root} has no {' or '.join(roles)}, which an XTTS model needs")


def _some(names: list[str]) -> str:
    return f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300] or type(error).__name__
