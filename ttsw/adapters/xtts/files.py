"""A checkpoint's files, read so that nothing in them is ever run, and with a sentence for each fault."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ttsw.adapters.memory import raise_machine_fault
from ttsw.adapters.pytorch.weights import first_line, load_file
from ttsw.adapters.xtts.imports import BaseDatasetConfig, VoiceBpeTokenizer, XttsArgs, XttsAudioConfig, XttsConfig
from ttsw.errors import UnavailableError
from ttsw.formats.json_file import read_json

_UNUSED = (
    "torch_mel_spectrogram_style_encoder",
    "torch_mel_spectrogram_dvae",
    "dvae",
    "gpt.gpt_inference",
    "gpt.gpt.wte",
)
"""What training leaves in a checkpoint, and second names that the library gives to weights."""

SIZES = {
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


def read_config(path: Path) -> XttsConfig:
    """Read config.json: an `XttsConfig`.

    Raises:
        UnavailableError: It is no XTTS-v2 model's.
    """
    try:
        return _config(read_json(path))
    except (ValueError, TypeError, AttributeError, LookupError, AssertionError) as error:
        raise UnavailableError(f"{path} is not the configuration of an XTTS-v2 model: {error}") from error


def _config(found: object) -> XttsConfig:
    if not isinstance(found, dict) or found.get("model") != "xtts":
        raise ValueError("its \"model\" must be 'xtts'")
    config = XttsConfig()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a value of a wrong type is replaced by the default: see below
        config.from_dict(found)
    _check_numbers(config.model_args, found["model_args"], [*SIZES.values(), "d_vector_dim", "decoder_input_dim"])
    _check_numbers(config, found, ["gpt_cond_len", "gpt_cond_chunk_len", "max_ref_len"])
    if not config.model_args.gpt_use_perceiver_resampler:
        raise ValueError("it is XTTS v1's; v2 has model_args.gpt_use_perceiver_resampler: true")
    return config


def _check_numbers(config: XttsConfig | XttsArgs, found: Mapping[str, Any], names: list[str]) -> None:
    for name in names:
        value = found.get(name, getattr(config, name))
        if type(value) is not int or value < 1:
            raise ValueError(f"{name} is {value!r}, and must be a whole number above 0")
        if value != getattr(config, name):
            raise ValueError(f"another value beside {name} is of a wrong type")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read weights by the names that the library has for them now.

    They stay in the file until they are looked at, where its format allows that.

    Args:
        path: A .safetensors file, or one that torch has saved.

    Raises:
        UnavailableError: It can't be read, or holds more than weights.
    """
    found = load_file(path, known_classes())
    state = found.get("model", found) if isinstance(found, Mapping) else found
    if not isinstance(state, Mapping) or not all(isinstance(each, Tensor) for each in state.values()):
        raise UnavailableError(f"{path} holds no weights by name, but a {type(state).__name__}")
    named = {_modern(str(name).removeprefix("xtts.")): values for name, values in state.items()}
    return {name: values for name, values in named.items() if not name.startswith(_UNUSED)}


def known_classes() -> list[Any]:
    """What Coqui's own checkpoint holds beside weights: its configuration, under its names of then."""
    then = "TTS.tts.models.xtts"
    moved = [(kind, f"{then}.{kind.__name__}") for kind in (XttsArgs, XttsAudioConfig)]
    return [XttsConfig, XttsArgs, XttsAudioConfig, BaseDatasetConfig, *moved]


def read_vocabulary(path: Path) -> VoiceBpeTokenizer:
    """Read vocab.json.

    Raises:
        UnavailableError: It is no tokenizer's, or not one of an XTTS model.
    """
    try:
        tokenizer = VoiceBpeTokenizer(vocab_file=path)
        lacking = [each for each in ("[START]", "[STOP]", "[SPACE]") if tokenizer.tokenizer.token_to_id(each) is None]
    except Exception as error:  # the tokenizers' errors have no class of their own
        raise_machine_fault(error, f"{path} cannot be read")
        raise UnavailableError(f"{path} is no vocabulary of a tokenizer: {first_line(error)}") from error
    if lacking:
        raise UnavailableError(f"{path} is not the vocabulary of an XTTS model: it lacks {', '.join(lacking)}")
    return tokenizer


def _modern(name: str) -> str:
    """A weight's name as torch names it now: weight norm has become a parametrization."""
    if name.endswith((".weight_g", ".weight_v")):
        return f"{name[:-9]}.parametrizations.weight.original{int(name.endswith('v'))}"
    return name
