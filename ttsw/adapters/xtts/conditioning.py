"""Voices: what XTTS takes from a recording before it speaks like it, computed once and kept.

The latents depend on the recording, the weights and three parameters, so their key is a digest of all of these. They
are kept in memory, and on disk (64 KiB of latents, as arrays, never as pickles) for the processes to come.
"""

import hashlib
import os
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
import soxr
import torch

from ttsw.adapters.clips import Clip, read_clip

RATE = 22_050
"""The rate of recordings that the model was trained with, Hz."""
KEPT = 64
"""Voices kept in memory."""


@dataclass(frozen=True, slots=True)
class Latents:
    """A voice.

    Args:
        conditioning: What GPT reads before the text, shape (1, n, channels).
        speaker: What the vocoder speaks like, shape (1, d, 1).
    """

    conditioning: torch.Tensor
    speaker: torch.Tensor


class Voices:
    """Voices by recording.

    Args:
        compute: Makes latents of a recording.
        identity: What the result depends on beside the recording: the weights, the parameters.
        folder: Where they are kept; None keeps them in memory only.
        device: Where the model is.
    """

    def __init__(
        self, compute: Callable[[Clip], Latents], identity: str, folder: Path | None, device: torch.device | str
    ) -> None:
        self._compute, self._identity, self._folder, self._device = compute, identity, folder, device
        self._known: OrderedDict[str, Latents] = OrderedDict()
        self._lock = Lock()
        self.computed = 0
        """How often latents were computed, rather than found."""

    def get(self, path: Path) -> Latents:
        """Give the voice of a recording; those who ask for the same one at the same time wait for one of them.

        Raises:
            InvalidArgumentError: No voice can be cloned from it; the text says why.
            UnavailableError: It can't be read.
        """
        key = hashlib.sha256(f"{self._identity} {_digest(path)}".encode()).hexdigest()
        with self._lock:
            latents = self._known.get(key) or self._load(key)
            if latents is None:
                latents = self._compute(read_clip(path))
                self.computed += 1
                self._save(key, latents)
            self._known[key] = latents
            self._known.move_to_end(key)
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
            return latents

    def _load(self, key: str) -> Latents | None:
        if self._folder is None:
            return None
        try:
            with np.load(self._folder / f"{key}.npz", allow_pickle=False) as kept:
                found = {name: torch.from_numpy(kept[name]).to(self._device) for name in ("conditioning", "speaker")}
        except Exception:  # it isn't there, or damaged in one of many ways: it can be computed again
            return None
        return Latents(**found)

    def _save(self, key: str, latents: Latents) -> None:
        if self._folder is None:
            return
        part = self._folder / f".{key}.{secrets.token_hex(4)}.npz"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            np.savez(part, conditioning=latents.conditioning.cpu().numpy(), speaker=latents.speaker.cpu().numpy())
            os.replace(part, self._folder / f"{key}.npz")
        except OSError:  # a full disk costs the next process its time, nobody his speech
            part.unlink(missing_ok=True)


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return "unreadable"  # who reads it next says so in his own words


def clone(model: torch.nn.Module, clip: Clip) -> Latents:
    """Compute a voice with Coqui's model, by the parameters of its configuration.

    Coqui's own `get_conditioning_latents` reads files through torchcodec; what follows it is the same.
    """
    config = model.config
    samples = soxr.resample(clip.samples, clip.rate, RATE) if clip.rate != RATE else clip.samples
    audio = torch.from_numpy(np.ascontiguousarray(samples[: RATE * config.max_ref_len], np.float32)).clip(-1, 1)[None]
    if config.sound_norm_refs:
        audio = audio / audio.abs().max() * 0.75
    audio = audio.to(model.device)
    with torch.inference_mode():
        speaker = model.get_speaker_embedding(audio, RATE)
        conditioning = model.get_gpt_cond_latents(
            audio, RATE, length=config.gpt_cond_len, chunk_length=config.gpt_cond_chunk_len
        )
    return Latents(conditioning, speaker)
