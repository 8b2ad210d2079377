"""Audio of an utterance's latents, piece by piece: exactly what the library makes of all of them at once.

The library stretches latents (by the tempo, to 4 frames each, from 22050 to 24000 Hz) and runs HiFi-GAN on the frames.
Its stream does so anew for all there is at each chunk, and cross-fades; so its work grows with the square of what is
said. Here each piece of work sees new latents only, with so many frames before and after as a sample of audio depends
on: work for a chunk is the same whatever came before, and nothing is cross-faded, since nothing differs.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import Module

from ttsw.adapters.pytorch.audio import Stretch, fade_out
from ttsw.types import Samples

FADE_S = 0.05
"""An utterance that is cut off fades out for so long."""


class HifiganVocoder:
    """Makes streams of audio.

    Args:
        decoder: The library's `HifiDecoder`, loaded, on its device.
    """

    def __init__(self, decoder: Module) -> None:
        self.generator = decoder.waveform_decoder
        self.sample_rate = int(decoder.output_sample_rate)
        self.left, self.right = reach(self.generator)
        self.hop = math.prod(up.stride[0] for up in self.generator.ups)
        self._factors = [decoder.ar_mel_length_compression / decoder.output_hop_length]
        if decoder.output_sample_rate != decoder.input_sample_rate:
            self._factors.append(decoder.output_sample_rate / decoder.input_sample_rate)

    def open(self, speaker: Tensor, speed: float) -> "HifiganStream":
        """Begin a stream.

        Args:
            speaker: The speaker's embedding, shape (1, width, 1).
            speed: Tempo; 1 is the voice's own.
        """
        factors = self._factors if speed == 1 else [1 / speed, *self._factors]
        return HifiganStream(self, speaker, [Stretch(factor) for factor in factors])

    @torch.inference_mode()
    def run(self, frames: Tensor, speaker: Tensor) -> Tensor:
        """Make audio of frames, shape (n, channels): (n · hop,)."""
        audio: Tensor = self.generator(frames.T[None], g=speaker)
        return audio.reshape(-1)


class HifiganStream:
    """The audio of one utterance, which comes as its latents do."""

    def __init__(self, vocoder: HifiganVocoder, speaker: Tensor, stretches: "list[Stretch]") -> None:
        self._vocoder, self._speaker, self._stretches = vocoder, speaker, stretches
        self._held: Tensor | None = None
        self._first = self._done = 0

    @torch.inference_mode()
    def push(self, latents: Tensor, *, end: bool = False, cut: bool = False) -> Samples:
        """Give the audio that these latents complete, shape (n,), float32.

        Args:
            latents: The utterance's next, shape (n, channels).
            end: There are no more.
            cut: It was cut off: let it fade out.
        """
        for stretch in self._stretches:
            latents = stretch.push(latents, end=end)
        vocoder = self._vocoder
        held = latents if self._held is None else torch.cat([self._held, latents])
        known = self._first + len(held)
        stop = known if end else max(self._done, known - vocoder.right)
        audio = np.empty(0, np.float32)
        if stop > self._done:
            made = vocoder.run(held, self._speaker)
            kept = made[(self._done - self._first) * vocoder.hop : (stop - self._first) * vocoder.hop]
            audio = kept.float().cpu().numpy()
        first = max(self._first, stop - vocoder.left)
        self._held, self._first, self._done = held[first - self._first :].clone(), first, stop
        return fade_out(audio, round(FADE_S * vocoder.sample_rate)) if end and cut else audio


def reach(generator: Module) -> tuple[int, int]:
    """Say how many frames before and after its own a sample of a HiFi-GAN's audio depends on.

    From its last layer back to its first: what the samples from `low` to `high` depend on, frame 0 being theirs.
    """
    hop = math.prod(up.stride[0] for up in generator.ups)
    low, high = 0, hop - 1
    each = len(generator.resblocks) // len(generator.ups)
    reached = [_radius(generator.conv_post)]
    for number, up in reversed([*enumerate(generator.ups)]):
        blocks = generator.resblocks[number * each : (number + 1) * each]
        reached.append(max(sum(_radius(conv) for conv in block.modules() if _is_conv(conv)) for block in blocks))
        low, high = low - sum(reached), high + sum(reached)
        size, stride, padding = up.kernel_size[0], up.stride[0], up.padding[0]
        low, high = -((size - 1 - padding - low) // stride), (high + padding) // stride
        reached = []
    radius = _radius(generator.conv_pre)
    return radius - low, high + radius


def _radius(conv: Module) -> int:
    return int(conv.dilation[0] * (conv.kernel_size[0] - 1) // 2)


def _is_conv(module: Module) -> bool:
    return isinstance(module, torch.nn.Conv1d)
