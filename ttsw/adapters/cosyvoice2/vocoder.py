"""Mel spectrogram to audio, piece by piece: what the library makes of all of it at once, with chance of one's own.

HiFT makes a source of sound from the pitch (sines and noise), and shapes it by the spectrogram. The library's stream
begins the sines anew with each piece and hides that by a cross-fade. Here their phase goes on, noise belongs to the
utterance, and each piece of work sees as many frames before its own as a sample depends on; after the first piece as
many behind, too, so that nothing differs from the whole. The first piece is given out earlier than that: `EARLY` frames
before the end of what is known, which is what the library waits for, and its seam is cross-faded over as many.
"""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Module

from ttsw.adapters.pytorch.audio import Stretch, fade_out
from ttsw.types import Samples

EARLY = 8
"""Frames of 20 ms that the first piece is given out before the end of what is known."""

FADE_S = 0.05
"""An utterance that is cut off fades out for so long."""


class HiftVocoder:
    """Makes streams of audio.

    Args:
        hift: The library's `HiFTGenerator`, loaded, on its device.
    """

    def __init__(self, hift: Module) -> None:
        self.hift, self.sample_rate = hift, int(hift.sampling_rate)
        self.hop = math.prod(up.stride[0] for up in hift.ups) * int(hift.istft_params["hop_len"])
        self.bent = sum(conv.kernel_size[0] // 2 for conv in hift.f0_predictor.condnet if _is_conv(conv))
        """Frames after its own that the pitch of a frame depends on."""
        self.left, self.right = reach(hift, self.hop)
        self.right += self.bent + 1  # a sine turns towards the next frame's pitch
        self.device = hift.f0_predictor.classifier.weight.device

    def open(self, chance: np.random.Generator, speed: float = 1.0) -> "HiftStream":
        """Begin a stream.

        Args:
            chance: Makes the noise.
            speed: Tempo; 1 is the voice's own.
        """
        return HiftStream(self, chance, None if speed == 1 else Stretch(1 / speed))


class HiftStream:
    """The audio of one utterance, which comes as its spectrogram does.

    Args:
        vocoder: What makes it.
        chance: Makes the noise.
        stretch: What changes the tempo.
    """

    def __init__(self, vocoder: HiftVocoder, chance: np.random.Generator, stretch: "Stretch | None") -> None:
        self._vocoder, self._stretch = vocoder, stretch
        self._source = ExcitationSource(vocoder, chance)
        self._held: Tensor | None = None
        self._first = self._done = 0
        self._tail = np.empty(0, np.float32)

    @torch.inference_mode()
    def push(self, frames: Tensor, *, end: bool = False, cut: bool = False) -> Samples:
        """Give the audio that these frames complete, shape (n,), float32.

        Args:
            frames: The utterance's next, shape (n, bands), float32.
            end: There are no more.
            cut: It was cut off: let it fade out.
        """
        if self._stretch is not None:
            frames = self._stretch.push(frames, end=end)
        vocoder, hop = self._vocoder, self._vocoder.hop
        held = frames if self._held is None else torch.cat([self._held, frames])
        known = self._first + len(held)
        begun = self._done > 0
        stop = known if end else max(self._done, known - (vocoder.right if begun else EARLY))
        audio = np.empty(0, np.float32)
        if stop > self._done:
            source = self._source.push(held, self._first, end=end)
            made = vocoder.hift.decode(x=held.T[None], s=source[None, None])[0].float().cpu().numpy()
            audio = made[(self._done - self._first) * hop : (stop - self._first) * hop]
            audio = fade_over(self._tail, audio)
            tail = made[(stop - self._first) * hop : (known - self._first) * hop]
            self._tail = tail if not begun else tail[:0]
        first = max(self._first, stop - vocoder.left)
        self._source.forget(first - self._first)
        self._held, self._first, self._done = held[first - self._first :].clone(), first, stop
        return fade_out(audio, round(FADE_S * vocoder.sample_rate)) if end and cut else audio


class ExcitationSource:
    """The sound that is shaped: sines of the pitch and noise, the same for a frame whenever it is asked for.

    Args:
        vocoder: Whose parameters it has.
        chance: Makes the noise, frame by frame.
    """

    def __init__(self, vocoder: HiftVocoder, chance: np.random.Generator) -> None:
        self._vocoder, self._chance = vocoder, chance
        module = vocoder.hift.m_source
        self._sines, self._mix = module.l_sin_gen, module.l_linear
        self._made = torch.empty(0, device=vocoder.device)
        """Samples of the frames that won't change, from the first that is held."""
        self._noise = np.empty((0, self._sines.dim), np.float32)
        self._turned: Tensor | None = None
        """Turns of each sine until the end of the last of those frames."""

    def push(self, held: Tensor, first: int, *, end: bool) -> Tensor:
        """Give the source of all frames that are held, shape (n * hop,).

        Args:
            held: The frames, shape (n, bands).
            first: Which is the first.
            end: There are no more.
        """
        vocoder, sines, hop = self._vocoder, self._sines, self._vocoder.hop
        done = len(self._made) // hop
        pitch = vocoder.hift.f0_predictor(held.T[None])[0, done:].double()
        count = len(pitch)
        if not count:
            return self._made
        times = torch.arange(1, sines.dim + 1, device=pitch.device)
        turns = (pitch[:, None] * times / vocoder.sample_rate % 1).cumsum(0)
        before = turns[:1] if self._turned is None else self._turned
        turns = turns if self._turned is None else turns + self._turned
        # as torch stretches them linearly: from the middle of a frame to that of the next
        line = torch.cat([before, turns, turns[-1:]])
        share = (torch.arange(hop, device=pitch.device) + 0.5) / hop - 0.5
        share = torch.where(share < 0, share + 1, share).double()[:, None]
        halves = (line[:-2], line[1:-1], line[2:])
        left, right = (low[:, None] + (high - low)[:, None] * share for low, high in pairwise(halves))
        early = (torch.arange(hop, device=pitch.device) < hop // 2)[:, None]
        phase = (torch.where(early, left, right) * hop % 1).float().flatten(0, 1)
        self._more_noise(count * hop)
        noise = torch.from_numpy(self._noise).to(pitch.device)
        voiced = (pitch > sines.voiced_threshold).float().repeat_interleave(hop)[:, None]
        loud = voiced * sines.noise_std + (1 - voiced) * sines.sine_amp / 3
        waves = sines.sine_amp * torch.sin(2 * np.pi * phase) * voiced + loud * noise
        source = torch.tanh(self._mix(waves))[:, 0]
        whole = torch.cat([self._made, source])
        settled = count if end else max(0, count - vocoder.bent - 1)
        if settled:
            self._made = whole[: (done + settled) * hop].clone()
            self._noise = self._noise[settled * hop :]
            self._turned = turns[settled - 1 : settled] % 1
        return whole

    def forget(self, frames: int) -> None:
        """Let go of the first frames, as many."""
        self._made = self._made[frames * self._vocoder.hop :].clone()

    def _more_noise(self, samples: int) -> None:
        more = samples - len(self._noise)
        if more > 0:
            made = self._chance.standard_normal((more, self._sines.dim), np.float32)
            self._noise = np.concatenate([self._noise, made])


def reach(hift: Module, hop: int) -> tuple[int, int]:
    """Say how many frames before and after its own a sample of HiFT's audio depends on, its pitch aside.

    From the last layer back to the first: what samples 0 to `hop` - 1 depend on, frame 0 being theirs. The source has
    its own way in at each stage, and is followed in samples.
    """
    size, step = int(hift.istft_params["n_fft"]), int(hift.istft_params["hop_len"])
    low, high = -(size // 2) // step, -(-(hop - 1 + size // 2) // step)
    lows, highs = [0], [0]
    radius = hift.conv_post.kernel_size[0] // 2
    for number, up in reversed([*enumerate(hift.ups)]):
        each = hift.num_kernels
        radius += max(map(_radius, hift.resblocks[number * each : (number + 1) * each]))
        low, high, radius = low - radius, high + radius, 0
        more, down = _radius(hift.source_resblocks[number]), hift.source_downs[number]
        stride, padding, kernel = down.stride[0], down.padding[0], down.kernel_size[0]
        lows.append(((low - more) * stride - padding) * step - size // 2)
        highs.append(((high + more) * stride - padding + kernel - 1) * step + size // 2)
        if number == len(hift.ups) - 1:
            low -= 1  # a sample is put before the first
        kernel, stride, padding = up.kernel_size[0], up.stride[0], up.padding[0]
        low, high = -((kernel - 1 - padding - low) // stride), (high + padding) // stride
    radius = hift.conv_pre.kernel_size[0] // 2
    return max(radius - low, -(min(lows) // hop)), max(high + radius, max(highs) // hop)


def fade_over(old: Samples, new: Samples) -> Samples:
    """Let audio go over into other audio of the same time, as far as there is both.

    >>> fade_over(np.ones(2, np.float32), np.zeros(4, np.float32)).astype(float).round(2).tolist()
    [0.85, 0.15, 0.0, 0.0]
    """
    count = min(len(old), len(new))
    rising = np.sin((np.arange(count, dtype=np.float32) + 0.5) * np.float32(np.pi / 2 / max(1, count))) ** 2
    return np.concatenate([new[:count] * rising + old[:count] * (1 - rising), new[count:]])


def _radius(block: Any) -> int:  # noqa: ANN401 - a module of the library's
    return sum(conv.dilation[0] * (conv.kernel_size[0] - 1) // 2 for conv in block.modules() if _is_conv(conv))


def _is_conv(module: Module) -> bool:
    return isinstance(module, torch.nn.Conv1d)
