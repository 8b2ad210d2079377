"""Voices: what XTTS takes from a recording before it speaks like it, computed once and kept.

The latents depend on the recording, the weights and the configuration's parameters, so their key is a digest of all of
these. They are kept in memory, and on disk (130 KB each, as arrays, never as pickles) for the processes to come.
"""

import hashlib
import os
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, TypeVar

import numpy as np
import soxr
import torch
from torch import Tensor

from ttsw.adapters.clips import Clip, read_clip
from ttsw.adapters.xtts.batch import POLL_S, check_cancelled
from ttsw.adapters.xtts.files import load_safely
from ttsw.adapters.xtts.imports import Xtts, XttsArgs
from ttsw.errors import InvalidArgumentError, UnavailableError

RATE = 22_050
"""The rate of the recordings that the model was trained with, Hz."""
KEPT = 64
"""Voices kept in memory, those that were used last."""

V = TypeVar("V")


class Voice(NamedTuple):
    """A voice.

    Args:
        latents: What the transformer reads before the text, shape (1, n, channels).
        speaker: What the vocoder sounds like, shape (1, width, 1).
    """

    latents: Tensor
    speaker: Tensor


class Voices:
    """The voices of one model.

    Args:
        model: The library's model, loaded.
        identity: What says which weights these are.
        folder: Where voices are kept; None keeps them in memory only.
    """

    def __init__(self, model: Xtts, identity: str, folder: Path | None) -> None:
        self._model, self._folder = model, folder
        config = model.config
        parameters = (config.gpt_cond_len, config.gpt_cond_chunk_len, config.max_ref_len, config.sound_norm_refs)
        self._identity = f"{identity} {parameters}"
        self._voices: OrderedDict[str, Voice] = OrderedDict()
        self._digests: OrderedDict[tuple[Path, int, int], str] = OrderedDict()
        self._lock = Lock()
        self._computing = Lock()
        self.computed = 0
        """How often a voice was computed rather than found."""

    def get(self, path: Path) -> Voice:
        """Give the voice of a recording; those who ask for it at the same time wait for one of them.

        Raises:
            InvalidArgumentError: No voice can be cloned from it; the text says why.
            trio.Cancelled: The task that this thread works for was cancelled.
        """
        key = self._key(path)
        with self._lock:
            if (voice := _used(self._voices, key)) is not None:
                return voice
        while not self._computing.acquire(timeout=POLL_S):
            check_cancelled()
        try:
            with self._lock:
                voice = _used(self._voices, key)
            if voice is None:
                voice = self._load(key) or self._compute(path, key)
                with self._lock:
                    _use(self._voices, key, voice)
            return voice
        finally:
            self._computing.release()

    def _key(self, path: Path) -> str:
        try:
            found = path.stat()
            version = (path, found.st_size, found.st_mtime_ns)
            with self._lock:
                if (digest := _used(self._digests, version)) is not None:
                    return digest
            digest = hashlib.sha256(path.read_bytes() + self._identity.encode()).hexdigest()
        except OSError as error:
            raise InvalidArgumentError(f"{path} can't be read: {error.strerror}") from error
        with self._lock:
            return _use(self._digests, version, digest)

    def _compute(self, path: Path, key: str) -> Voice:
        voice = clone(self._model, read_clip(path))
        self.computed += 1
        if not all(bool(each.isfinite().all()) for each in voice):
            raise InvalidArgumentError(f"the model finds no voice in {path}: its latents are not finite")
        self._save(key, voice)
        return voice

    def _load(self, key: str) -> Voice | None:
        if self._folder is None:
            return None
        args, device = self._model.config.model_args, self._model.gpt.mel_head.weight.device
        try:
            with (self._folder / f"{key}.npz").open("rb") as file, np.load(file, allow_pickle=False) as kept:
                tensors = [torch.from_numpy(kept[name]).to(device, torch.float32) for name in Voice._fields]
            return _checked(Voice(*tensors), args)
        except Exception:
            return None

    def _save(self, key: str, voice: Voice) -> None:
        if self._folder is None:
            return
        part = self._folder / f".{key}.{os.getpid()}.part"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                np.savez(file, **{name: values.cpu().numpy() for name, values in voice._asdict().items()})
            part.replace(self._folder / f"{key}.npz")
        except OSError:  # a full disk costs the next process some time, and nobody their speech
            with suppress(OSError):
                part.unlink()


@torch.inference_mode()
def clone(model: Xtts, clip: Clip) -> Voice:
    """Compute a voice, as the library's `get_conditioning_latents` does with a file.

    Args:
        model: The library's model; its configuration says how much of a clip counts.
        clip: A recording.
    """
    config = model.config
    samples = soxr.resample(clip.samples, clip.rate, RATE)[: RATE * config.max_ref_len].clip(-1, 1)
    audio = torch.from_numpy(np.ascontiguousarray(samples, np.float32))[None].to(model.gpt.mel_head.weight.device)
    if config.sound_norm_refs:
        audio = audio / audio.abs().max() * 0.75
    speaker = model.get_speaker_embedding(audio, RATE)
    latents = model.get_gpt_cond_latents(
        audio, RATE, length=config.gpt_cond_len, chunk_length=config.gpt_cond_chunk_len
    )
    return Voice(latents, speaker)


def read_speakers(path: Path, model: Xtts) -> dict[str, Voice]:
    """Read the voices that a checkpoint brings, by name.

    Raises:
        UnavailableError: The file is none of voices, or of voices of another model.
    """
    found: Any = load_safely(path)
    device = model.gpt.mel_head.weight.device
    try:
        return {
            str(name): _checked(
                Voice(*(each[key].to(device, torch.float32) for key in ("gpt_cond_latent", "speaker_embedding"))),
                model.config.model_args,
            )
            for name, each in found.items()
        }
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise UnavailableError(f"{path} holds no speakers of this model: {error}") from error


def _checked(voice: Voice, args: XttsArgs) -> Voice:
    latents, speaker = voice
    if latents.ndim != 3 or latents.shape[::2] != (1, args.gpt_n_model_channels) or latents.shape[1] < 1:
        raise ValueError(f"latents are {tuple(latents.shape)} and must be (1, n, {args.gpt_n_model_channels})")
    if speaker.shape != (1, args.d_vector_dim, 1):
        raise ValueError(f"an embedding is {tuple(speaker.shape)} and must be (1, {args.d_vector_dim}, 1)")
    if not all(bool(each.isfinite().all()) for each in voice):
        raise ValueError("values are not finite")
    return voice


def _used(kept: "OrderedDict[Any, V]", key: object) -> V | None:
    if key in kept:
        kept.move_to_end(key)
    return kept.get(key)


def _use(kept: "OrderedDict[Any, V]", key: object, value: V) -> V:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > KEPT:
        kept.popitem(last=False)
    return value
