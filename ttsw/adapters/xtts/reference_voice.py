"""Voices: what XTTS takes from a recording before it speaks like it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soxr
import torch
from torch import Tensor

from ttsw.adapters.pytorch.voice_cache import VoiceCache
from ttsw.adapters.pytorch.weights import load_pickle
from ttsw.adapters.reference_clip import ReferenceClip, read_clip
from ttsw.adapters.xtts.files import known_classes
from ttsw.adapters.xtts.imports import Xtts, XttsArgs
from ttsw.errors import UnavailableError

RATE = 22_050
"""The rate of the recordings that the model was trained with, Hz."""


class XttsReference(NamedTuple):
    """A voice.

    Args:
        latents: What the transformer reads before the text, shape (1, n, channels).
        speaker: What the vocoder sounds like, shape (1, width, 1).
    """

    latents: Tensor
    speaker: Tensor


def keep_voices(
    model: Xtts, identity: str, folder: Path | None, read: Callable[[Path], ReferenceClip] = read_clip
) -> VoiceCache[XttsReference]:
    """Make the keeper of a model's voices.

    Args:
        model: The library's model, loaded.
        identity: What says which weights these are.
        folder: Where voices are kept; None keeps them in memory only.
        read: Reads a recording.
    """
    config = model.config
    parameters = (config.gpt_cond_len, config.gpt_cond_chunk_len, config.max_ref_len, config.sound_norm_refs)
    return VoiceCache(
        XttsReference,
        lambda path: clone(model, read(path)),
        lambda voice: _checked(voice, config.model_args),
        identity=f"{identity} {parameters}",
        folder=folder,
        device=model.gpt.mel_head.weight.device,
    )


@torch.inference_mode()
def clone(model: Xtts, clip: ReferenceClip) -> XttsReference:
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
    return XttsReference(latents, speaker)


def read_speakers(path: Path, model: Xtts) -> dict[str, XttsReference]:
    """Read the voices that a checkpoint brings, by name.

    Raises:
        UnavailableError: The file is none of voices, or of voices of another model.
    """
    found: Any = load_pickle(path, known_classes())
    device = model.gpt.mel_head.weight.device
    try:
        return {
            str(name): _checked(
                XttsReference(
                    *(each[key].to(device, torch.float32) for key in ("gpt_cond_latent", "speaker_embedding"))
                ),
                model.config.model_args,
            )
            for name, each in found.items()
        }
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise UnavailableError(f"{path} holds no speakers of this model: {error}") from error


def _checked(voice: XttsReference, args: XttsArgs) -> XttsReference:
    latents, speaker = voice
    if latents.ndim != 3 or latents.shape[::2] != (1, args.gpt_n_model_channels) or latents.shape[1] < 1:
        raise ValueError(f"latents are {tuple(latents.shape)} and must be (1, n, {args.gpt_n_model_channels})")
    if speaker.shape != (1, args.d_vector_dim, 1):
        raise ValueError(f"an embedding is {tuple(speaker.shape)} and must be (1, {args.d_vector_dim}, 1)")
    if not all(bool(each.isfinite().all()) for each in voice):
        raise ValueError("values are not finite")
    return voice
