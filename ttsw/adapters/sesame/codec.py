"""Audio of frames of codes, piece by piece: what Mimi, the codec, makes of all at once. And codes of recordings.

The library decodes all or, with its cache, only the transformer part by part, which leaves a seam at each piece. Here
each convolution remembers as much of what went into it as it sees of the past, so each frame is computed once, whatever
the pieces, and nothing differs.
"""

from typing import Any

import numpy as np
import soxr
import torch
from torch import Tensor
from torch.nn import Module

from ttsw.adapters.reference_clip import ReferenceClip
from ttsw.adapters.sesame.imports import DynamicCache, MimiConv1d, MimiConvTranspose1d, MimiModel, MimiResnetBlock
from ttsw.types import Samples

FADE_S = 0.05
"""An utterance that is cut off fades out for so long."""


class Codec:
    """Makes streams of audio, and codes of recordings.

    Args:
        model: The library's `MimiModel`, loaded, in evaluation mode, on its device.
    """

    def __init__(self, model: MimiModel) -> None:
        self.model = model
        self.sample_rate = int(model.config.sampling_rate)
        self.frame_rate = self.sample_rate / int(model.config.frame_size)
        self.device = model.device
        quantizer = model.quantizer
        with torch.inference_mode():
            for part in (quantizer.semantic_residual_vector_quantizer, quantizer.acoustic_residual_vector_quantizer):
                for layer in part.layers:
                    layer.codebook.embed  # noqa: B018 - computed once, before there are threads

    def open(self) -> "CodecStream":
        """Begin a stream."""
        return CodecStream(self.model, self.device)

    @torch.inference_mode()
    def encode(self, clip: ReferenceClip) -> Tensor:
        """Give a recording's codes, shape (frames, codebooks)."""
        samples = soxr.resample(clip.samples, clip.rate, self.sample_rate).clip(-1, 1)
        audio = torch.from_numpy(np.ascontiguousarray(samples, np.float32)).to(self.device)
        codes: Tensor = self.model.encode(audio[None, None]).audio_codes
        return codes[0].T.contiguous()


class CodecStream:
    """The audio of one utterance, which comes as its frames do."""

    def __init__(self, model: MimiModel, device: torch.device) -> None:
        self._quantizer, self._decoder, self._device = model.quantizer, model.decoder, device
        self._cache = DynamicCache(config=model.decoder.config)
        self._held: dict[Module, Tensor] = {}

    @torch.inference_mode()
    def push(self, codes: Tensor) -> Samples:
        """Give the audio of the utterance's next frames.

        Args:
            codes: Shape (n, codebooks).

        Returns:
            Shape (n · samples of a frame,), float32.
        """
        if not len(codes):
            return np.empty(0, np.float32)
        latents = self._quantizer.decode(codes.to(self._device).T[None])
        x = latents if self._decoder.upsample is None else self._stretch(self._decoder.upsample, latents)
        out: Any = self._decoder.decoder_transformer(x.transpose(1, 2), past_key_values=self._cache, use_cache=True)
        x = out.last_hidden_state.transpose(1, 2)
        for layer in self._decoder.decoder_seanet.layers:
            x = self._run(layer, x)
        return np.asarray(x.reshape(-1).float().cpu().numpy())

    def _run(self, layer: Module, x: Tensor) -> Tensor:
        if isinstance(layer, MimiConv1d):
            return self._convolve(layer, x)
        if isinstance(layer, MimiConvTranspose1d):
            return self._stretch(layer, x)
        if isinstance(layer, MimiResnetBlock):
            inner = x
            for each in layer.block:
                inner = self._run(each, inner)
            return self._run(layer.shortcut, x) + inner
        plain: Tensor = layer(x)
        return plain

    def _convolve(self, layer: Module, x: Tensor) -> Tensor:
        conv = layer.conv
        known = self._know(layer, x, (conv.kernel_size[0] - 1) * conv.dilation[0])
        out: Tensor = conv(known)
        return out

    def _stretch(self, layer: Module, x: Tensor) -> Tensor:
        conv = layer.conv
        stride, past = conv.stride[0], -(-conv.kernel_size[0] // conv.stride[0]) - 1
        out: Tensor = conv(self._know(layer, x, past))
        return out[..., past * stride : (past + x.shape[-1]) * stride]

    def _know(self, layer: Module, x: Tensor, past: int) -> Tensor:
        """Put so much of what went in before in front of what goes in now: silence, before there was anything."""
        if not past:
            return x
        held = self._held.get(layer)
        known = torch.cat([x.new_zeros(*x.shape[:-1], past) if held is None else held, x], dim=-1)
        self._held[layer] = known[..., -past:].clone()
        return known
