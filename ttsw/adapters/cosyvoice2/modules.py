"""The modules of a model, made of the library's classes as its definition says, without weights that mean anything.

Decides which classes may be made of which record, and what a definition must say for the code that streams to be right.
"""

import math
import random
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from inspect import signature
from io import StringIO
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.nn import Module

from ttsw.adapters.cosyvoice2.definition import DefinitionRecord
from ttsw.adapters.cosyvoice2.imports import (
    CausalConditionalCFM,
    CausalConditionalDecoder,
    CausalMaskedDiffWithXvec,
    ConvRNNF0Predictor,
    HiFTGenerator,
    Qwen2Encoder,
    Qwen2ForCausalLM,
    Qwen2LM,
    UpsampleConformerEncoder,
)


def _plain(content: Mapping[str, Any]) -> SimpleNamespace:
    """Give values by name, as attributes: what the library wants of an omegaconf `DictConfig`."""
    return SimpleNamespace(**content)


_CLASSES: Mapping[str, Any] = {
    "cosyvoice.flow.flow.CausalMaskedDiffWithXvec": CausalMaskedDiffWithXvec,
    "cosyvoice.transformer.upsample_encoder.UpsampleConformerEncoder": UpsampleConformerEncoder,
    "cosyvoice.flow.flow_matching.CausalConditionalCFM": CausalConditionalCFM,
    "cosyvoice.flow.decoder.CausalConditionalDecoder": CausalConditionalDecoder,
    "cosyvoice.hifigan.generator.HiFTGenerator": HiFTGenerator,
    "cosyvoice.hifigan.f0_predictor.ConvRNNF0Predictor": ConvRNNF0Predictor,
    "omegaconf.DictConfig": _plain,
}
"""What is made of a definition, and of nothing else in it."""

_FIXED: Mapping[str, Mapping[str, Any]] = {
    "encoder": {
        "input_layer": "linear",
        "pos_enc_layer_type": "rel_pos_espnet",
        "selfattention_layer_type": "rel_selfattn",
        "use_cnn_module": False,
        "macaron_style": False,
        "normalize_before": True,
        "output_size": 512,
    },
    "estimator": {"act_fn": "gelu"},
    "flow": {"token_mel_ratio": 2, "pre_lookahead_len": 3},
}
"""What the code that streams takes for granted: it is so in every model of this family."""


@dataclass(frozen=True)
class CosyVoiceModules:
    """A model, on its device, in evaluation mode.

    Args:
        llm: The library's `Qwen2LM`: text to speech tokens.
        flow: The library's `CausalMaskedDiffWithXvec`: tokens to a mel spectrogram.
        hift: The library's `HiFTGenerator`, as float32: mel spectrogram to audio.
        sample_rate: Of the audio, Hz.
        chunk: Tokens that see each other in a stream.
        sampling: The numbers of the library's `ras_sampling`.
        mel: The arguments of the library's `mel_spectrogram`.
    """

    llm: Module
    flow: Module
    hift: Module
    sample_rate: int
    chunk: int
    sampling: Mapping[str, float]
    mel: Mapping[str, int]

    @property
    def device(self) -> torch.device:
        """Where it is."""
        device: torch.device = self.llm.llm_decoder.weight.device
        return device


def make_model(definition: Mapping[str, Any], config: Any) -> CosyVoiceModules:  # noqa: ANN401 - a Qwen2Config
    """Make all modules, on torch's default device, with weights that mean nothing.

    Raises:
        Exception: Of one of many kinds: the definition lacks something, or what it gives can't be.
    """
    with _aside():
        return _make(definition, config)


def _make(definition: Mapping[str, Any], config: Any) -> CosyVoiceModules:  # noqa: ANN401 - a Qwen2Config
    llm, flow, hift = (_part(definition, name) for name in ("llm", "flow", "hift"))
    encoder, decoder = flow.arguments["encoder"], flow.arguments["decoder"]
    estimator, token_rate = decoder.arguments["estimator"], int(definition["token_frame_rate"])
    for name, record in (("encoder", encoder), ("estimator", estimator), ("flow", flow)):
        for key, value in _FIXED[name].items():
            if record.arguments.get(key, value) != value:
                raise ValueError(f"{key} is {record.arguments[key]!r}, and must be {value!r}")
    if len(estimator.arguments["channels"]) != 1:
        raise ValueError("the estimator's channels must be one number")
    chunk = int(encoder.arguments.get("static_chunk_size") or token_rate)
    wide = int(estimator.arguments.get("static_chunk_size") or 2 * chunk)
    if wide != 2 * chunk:
        raise ValueError(f"static_chunk_size is {chunk} tokens, and {wide} frames, which must be twice as many")
    sampling = llm.arguments.get("sampling", DefinitionRecord("")).arguments
    mel = {name: int(definition["feat_extractor"].arguments[name]) for name in _MEL}
    _check_rates(definition, hift.arguments, mel)
    speech = int(llm.arguments["speech_token_size"])
    return CosyVoiceModules(
        llm=_make_llm(config, speech),
        hift=_new(hift),
        flow=_new(flow),
        sample_rate=int(definition["sample_rate"]),
        chunk=chunk,
        sampling={name: float(sampling.get(name, value)) for name, value in _RAS.items()},
        mel=mel,
    )


_OLD_RATE = 22_050
"""At this rate the library's vocoder has another source of sound, which is another family's."""
_MEL = ("n_fft", "num_mels", "sampling_rate", "hop_size", "win_size", "fmin", "fmax")
_RAS = {"top_p": 0.8, "top_k": 25, "win_size": 10, "tau_r": 0.1}


def _check_rates(definition: Mapping[str, Any], hift: Mapping[str, Any], mel: Mapping[str, int]) -> None:
    """See that all parts mean the same by a frame and a second."""
    rate, hop = int(definition["sample_rate"]), mel["hop_size"]
    if (
        rate == _OLD_RATE
        or not rate == mel["sampling_rate"] == hift["sampling_rate"] == 2 * hop * definition["token_frame_rate"]
    ):
        raise ValueError(f"sample_rate is {rate}, which the vocoder, the spectrogram or the tokens' rate contradicts")
    if (made := math.prod(hift["upsample_rates"]) * hift["istft_params"]["hop_len"]) != hop:
        raise ValueError(f"the vocoder makes {made} samples of a frame, and the spectrogram has hops of {hop}")


def _part(definition: Mapping[str, Any], name: str) -> DefinitionRecord:
    found = definition.get(name)
    if not isinstance(found, DefinitionRecord):
        raise TypeError(f"it lacks {name!r}, or has no class for it")
    wanted = {"llm": "Qwen2LM", "flow": "CausalMaskedDiffWithXvec", "hift": "HiFTGenerator"}[name]
    if not found.name.endswith(f".{wanted}"):
        raise ValueError(f"{name} is a {found.name}, and must be a {wanted}: it is another model's")
    return found


def _make_llm(config: Any, speech: int) -> Module:  # noqa: ANN401 - a Qwen2Config
    """Make the language model without reading the text model that it was trained from: its weights are llm.pt's."""
    inner = Qwen2Encoder.__new__(Qwen2Encoder)
    Module.__init__(inner)
    inner.model = Qwen2ForCausalLM(config)
    size = config.hidden_size
    llm: Module = Qwen2LM(size, size, speech, inner, sampling=None)
    return llm


def _new(record: DefinitionRecord) -> Any:  # noqa: ANN401 - a module, or plain values
    """Make what a record of an allowed class says, and what it is made of."""
    made = _CLASSES.get(record.name)
    if made is None:
        raise ValueError(f"{record.name} is no part of such a model")
    arguments = {
        name: _new(value) if isinstance(value, DefinitionRecord) else value for name, value in record.arguments.items()
    }
    if unknown := arguments.keys() - signature(made).parameters.keys():
        raise ValueError(f"{record.name} has no {', '.join(sorted(unknown))}")
    return made(**arguments)


@contextmanager
def _aside() -> Generator[None, None, None]:
    """Keep to themselves what the library's constructors do: they seed all generators of chance, print and warn."""
    before, also = random.getstate(), np.random.get_state()  # noqa: NPY002 - that is what the library seeds
    try:
        with torch.random.fork_rng([]), redirect_stdout(StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        random.setstate(before)
        np.random.set_state(also)  # noqa: NPY002
