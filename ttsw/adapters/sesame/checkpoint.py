"""The model of a voice pack, made of the library's classes and filled with the weights of its files.

Its transformers get no memory for weights before they get weights, one by one, so a load takes their memory once. They
are of 16 bits on a GPU; the codec, which is small and whose rounding can be heard, is of 32 bits anywhere.
"""

import re

import torch
from torch import Tensor
from torch.nn import Embedding, Linear, Module

from ttsw.adapters.memory import is_out_of_memory
from ttsw.adapters.pytorch.weights import check_fit, first_line, pack_file
from ttsw.adapters.sesame.files import read_config, read_weights, weights_file
from ttsw.adapters.sesame.imports import CsmBackboneModel, CsmConfig, CsmDepthDecoderForCausalLM, MimiModel
from ttsw.errors import UnavailableError
from ttsw.types import VoicePack

_TIED = ("depth_decoder.model.embed_tokens.weight", "backbone_model.embed_tokens.embed_audio_tokens.weight")

_FLAT = (
    (re.compile(r"codec_model\.(en|de)coder\.layers\."), r"codec_model.\1coder.\1coder_seanet.layers."),
    (re.compile(r"codec_model\.(en|de)coder_transformer\."), r"codec_model.\1coder.\1coder_transformer."),
    (re.compile(r"codec_model\.downsample\."), "codec_model.encoder.downsample."),
    (re.compile(r"codec_model\.upsample\."), "codec_model.decoder.upsample."),
)
"""How files name the codec's parts, and how the library's classes have them."""


class Csm(Module):  # type: ignore[misc]  # torch is untyped here
    """The library's modules that CSM consists of, by the names that they have in its `CsmForConditionalGeneration`.

    Args:
        config: Their sizes.
    """

    def __init__(self, config: CsmConfig) -> None:
        super().__init__()
        self.config = config
        with torch.device("meta"):
            self.lm_head = Linear(config.hidden_size, config.vocab_size, bias=False)
            self.embed_text_tokens = Embedding(config.text_vocab_size, config.hidden_size)
            self.backbone_model = CsmBackboneModel(config)
            self.depth_decoder = CsmDepthDecoderForCausalLM(config.depth_decoder_config)
        self.codec_model = MimiModel(config.codec_config)
        # what no file holds is computed from the configuration
        for model in (self.backbone_model, self.depth_decoder.model):
            model.rotary_emb = type(model.rotary_emb)(model.config)
        del self.backbone_model.embed_tokens.audio_tokens_offsets
        if config.tie_codebooks_embeddings:
            self.tie()

    def tie(self) -> None:
        """Let both transformers have one table of the codes' embeddings."""
        self.backbone_model.embed_tokens.embed_audio_tokens.weight = self.depth_decoder.model.embed_tokens.weight

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.lm_head.weight.device

    @property
    def kind(self) -> torch.dtype:
        """The transformers' numbers' type."""
        return self.lm_head.weight.dtype


def load_model(pack: VoicePack, device: torch.device, kind: torch.dtype | None = None) -> Csm:
    """Load a pack's model, in evaluation mode, on its device.

    Args:
        pack: The pack.
        device: Where to.
        kind: The transformers' numbers' type; by default what is usual on the device.

    Raises:
        UnavailableError: A file isn't what it should be; the text names it, and says what is wrong.
    """
    weights_file(pack)  # which says it of a LoRA
    described = pack_file(pack, "config.json")
    config = read_config(described)
    path, weights = read_weights(pack)
    try:
        model = Csm(config).eval().requires_grad_(requires_grad=False)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise UnavailableError(f"{described} gives sizes that can't be: {first_line(error)}") from error
    wanted = {name: tuple(values.shape) for name, values in model.state_dict().items()}
    found = _modern(weights, tied=bool(config.tie_codebooks_embeddings))
    check_fit(wanted, found, path, "config.json")
    weights.clear()
    _fill(model, found, device, kind or (torch.bfloat16 if device.type == "cuda" else torch.float32))
    return model


def _modern(weights: dict[str, Tensor], *, tied: bool) -> dict[str, Tensor]:
    """Give weights by the names that the classes have for them."""
    found = {}
    for name, values in weights.items():
        for pattern, place in _FLAT:
            name = pattern.sub(place, name)  # noqa: PLW2901 - one name, changed step by step
        found[name] = values
    if tied:
        depth, backbone = _TIED
        either = [found[name] for name in _TIED if name in found]
        found |= dict.fromkeys((depth, backbone), either[0]) if either else {}
    return found


def _fill(model: Csm, weights: dict[str, Tensor], device: torch.device, kind: torch.dtype) -> None:
    """Move the weights where they belong, one by one."""
    moved: dict[str, Tensor] = {}
    for name in list(weights):
        values = weights.pop(name)
        if model.config.tie_codebooks_embeddings and name == _TIED[1] and _TIED[0] in moved:
            moved[name] = moved[_TIED[0]]
            continue
        moved[name] = values.to(device, torch.float32 if name.startswith("codec_model.") else kind, copy=True)
    model.load_state_dict(moved, strict=True, assign=True)
    if model.config.tie_codebooks_embeddings:
        model.tie()
    model.requires_grad_(requires_grad=False)
    model.to(device)  # what is computed, and in no file
