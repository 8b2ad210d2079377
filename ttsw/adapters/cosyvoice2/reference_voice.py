"""Voices: what CosyVoice 2 takes from a recording before it speaks like it, and the speakers that a pack brings.

Decides how a recording is resampled and measured. A mel spectrogram, an embedding and speech tokens are all there is of
a voice; the two latter are computed by graphs of the pack, on the CPU, as the library does.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import soxr
import torch
from torch import Tensor
from torchaudio.compliance.kaldi import fbank
from torchaudio.functional import melscale_fbanks

from ttsw.adapters.cosyvoice2.modules import CosyVoiceModules
from ttsw.adapters.memory import raise_machine_fault
from ttsw.adapters.pytorch.voice_cache import VoiceCache, identify
from ttsw.adapters.pytorch.weights import first_line, load_pickle, pack_file
from ttsw.adapters.reference_clip import ReferenceClip, read_clip
from ttsw.errors import InvalidArgumentError, UnavailableError
from ttsw.types import VoicePack

RATE = 16_000
"""The rate of what the two graphs hear, Hz."""

MOST_S = 30.0
"""The library takes no longer recordings."""

SPEAKER_GRAPH, TOKEN_GRAPH = "campplus.onnx", "speech_tokenizer_v2.onnx"
RATIO = 2


class CosyVoiceReference(NamedTuple):
    """A voice.

    Args:
        tokens: What the recording is in speech tokens, shape (n,).
        mel: Its mel spectrogram, two frames for each token, shape (2n, bands).
        speaker: Whom it sounds like, shape (1, width).
    """

    tokens: Tensor
    mel: Tensor
    speaker: Tensor


class KnownSpeaker(NamedTuple):
    """A speaker that a pack brings.

    Args:
        voice: The voice.
        words: Tokens of what is said in the recording that it was made of; none where nobody knows.
    """

    voice: CosyVoiceReference
    words: tuple[int, ...]


class Cloner:
    """Takes voices from recordings.

    Args:
        pack: The model's pack.
        model: The model.
        threads: Threads that a graph may use; None leaves that to ONNX Runtime.

    Raises:
        UnavailableError: A graph can't be used.
    """

    def __init__(self, pack: VoicePack, model: CosyVoiceModules, threads: int | None = None) -> None:
        paths = [pack_file(pack, SPEAKER_GRAPH), pack_file(pack, TOKEN_GRAPH)]
        self._speaker, self._tokenizer = _open(paths[0], 1, threads), _open(paths[1], 2, threads)
        self._model = model
        self.identity = " ".join([*map(identify, paths), str(sorted(model.mel.items()))])

    @torch.inference_mode()
    def clone(self, clip: ReferenceClip, path: Path) -> CosyVoiceReference:
        """Compute a voice, as the library's `frontend_zero_shot` does.

        Args:
            clip: A recording.
            path: Where it came from, for the error.

        Raises:
            InvalidArgumentError: It is too long.
            UnavailableError: A graph fails, or gives what the model can't read.
        """
        seconds = len(clip.samples) / clip.rate
        if seconds > MOST_S:
            raise InvalidArgumentError(
                f"{path} lasts {seconds:.0f} s, and CosyVoice 2 takes at most {MOST_S:.0f} s; use 3 to 30 s of it"
            )
        mel = spectrogram(_at(clip, self._model.mel["sampling_rate"]), self._model.mel)
        heard = _at(clip, RATE)
        bands = fbank(heard[None], num_mel_bins=80, dither=0, sample_frequency=RATE)
        try:
            speaker = _run(self._speaker, (bands - bands.mean(dim=0, keepdim=True))[None].numpy())
            loud = log_mel(heard)[None].numpy()
            tokens = _run(self._tokenizer, loud, np.array([loud.shape[2]], np.int32)).flatten()
        except Exception as error:  # ONNX Runtime's have no class of their own
            raise_machine_fault(error, "a voice cannot be computed")
            raise UnavailableError(f"the graphs of {self.identity} fail: {first_line(error)}") from error
        device, count = self._model.device, min(len(mel) // RATIO, len(tokens))
        voice = CosyVoiceReference(
            torch.from_numpy(tokens[:count].astype(np.int64)).to(device),
            mel[: RATIO * count].to(device),
            torch.from_numpy(speaker.reshape(1, -1).astype(np.float32)).to(device),
        )
        try:
            return check(voice, self._model)
        except ValueError as error:
            raise UnavailableError(f"the graphs aren't this model's: {error}") from error


def keep_voices(
    cloner: Cloner, model: CosyVoiceModules, folder: Path | None, read: Callable[[Path], ReferenceClip] = read_clip
) -> VoiceCache[CosyVoiceReference]:
    """Make the keeper of a model's voices.

    Args:
        cloner: What takes them from recordings.
        model: The model.
        folder: Where voices are kept; None keeps them in memory only.
        read: Reads a recording.
    """
    return VoiceCache(
        CosyVoiceReference,
        lambda path: cloner.clone(read(path), path),
        lambda voice: check(voice, model),
        identity=cloner.identity,
        folder=folder,
        device=model.device,
    )


def read_speakers(path: Path, model: CosyVoiceModules) -> dict[str, KnownSpeaker]:
    """Read spk2info.pt: the speakers that a pack brings, by name.

    Raises:
        UnavailableError: The file is none of speakers, or of speakers of another model.
    """
    found: Any = load_pickle(path)
    try:
        return {str(name): _known(each, model) for name, each in found.items()}
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise UnavailableError(f"{path} holds no speakers of this model: {error}") from error


def _known(found: Mapping[str, Tensor], model: CosyVoiceModules) -> KnownSpeaker:
    """Take a speaker as the library saves it: with all of a recording, or with an embedding alone."""
    device = model.device
    if "embedding" in found:
        nothing = torch.zeros(0, dtype=torch.int64, device=device)
        bands = torch.zeros(0, model.mel["num_mels"], device=device)
        return KnownSpeaker(check(CosyVoiceReference(nothing, bands, found["embedding"].float().to(device)), model), ())
    voice = CosyVoiceReference(
        found["flow_prompt_speech_token"].flatten().long().to(device),
        found["prompt_speech_feat"].float()[0].to(device),
        found["flow_embedding"].float().to(device),
    )
    words = found["prompt_text"].flatten().tolist()
    if not all(0 <= word < model.llm.llm.model.config.vocab_size for word in words):
        raise ValueError("its text isn't this model's")
    return KnownSpeaker(check(voice, model), tuple(map(int, words)))


def check(voice: CosyVoiceReference, model: CosyVoiceModules) -> CosyVoiceReference:
    """See that a voice can be the model's.

    Raises:
        ValueError: It can't.
    """
    tokens, mel, speaker = voice
    most, bands = int(model.flow.vocab_size), model.mel["num_mels"]
    width = int(model.flow.spk_embed_affine_layer.in_features)
    if tokens.ndim != 1 or tokens.dtype != torch.int64:
        raise ValueError(f"tokens are {tuple(tokens.shape)} {tokens.dtype}, and must be whole numbers, (n,)")
    if len(tokens) and not 0 <= int(tokens.min()) <= int(tokens.max()) < most:
        raise ValueError(f"tokens go from {int(tokens.min())} to {int(tokens.max())}, and must be below {most}")
    if tuple(mel.shape) != (RATIO * len(tokens), bands):
        raise ValueError(f"a spectrogram is {tuple(mel.shape)}, and must be {(RATIO * len(tokens), bands)}")
    if tuple(speaker.shape) != (1, width):
        raise ValueError(f"an embedding is {tuple(speaker.shape)}, and must be (1, {width})")
    if not all(bool(each.isfinite().all()) for each in voice):
        raise ValueError("values are not finite")
    return voice


def spectrogram(samples: Tensor, how: Mapping[str, int]) -> Tensor:
    """Give the mel spectrogram that the flow knows, shape (frames, bands).

    Args:
        samples: Audio at the spectrogram's rate, shape (n,).
        how: The arguments of the library's `mel_spectrogram`.
    """
    size, hop = how["n_fft"], how["hop_size"]
    padded = torch.nn.functional.pad(samples[None], ((size - hop) // 2,) * 2, mode="reflect")[0]
    waves = torch.stft(
        padded,
        size,
        hop,
        how["win_size"],
        window=torch.hann_window(how["win_size"]),
        center=False,
        return_complex=True,
    )
    strength = (torch.view_as_real(waves).square().sum(-1) + 1e-9).sqrt()
    return (
        (_filters(size, how["sampling_rate"], how["num_mels"], how["fmin"], how["fmax"]) @ strength).clamp(1e-5).log().T
    )


def log_mel(samples: Tensor) -> Tensor:
    """Give what Whisper hears, of which the speech tokens are made: shape (128, frames), 100 frames a second.

    Args:
        samples: Audio at 16 kHz, shape (n,).
    """
    waves = torch.stft(samples, 400, 160, window=torch.hann_window(400), return_complex=True)
    strength = waves[:, :-1].abs().square()
    loud = (_filters(400, RATE, 128, 0, RATE // 2) @ strength).clamp(1e-10).log10()
    return (loud.clamp(float(loud.max()) - 8) + 4) / 4


def _filters(size: int, rate: int, bands: int, low: int, high: int) -> Tensor:
    filters = melscale_fbanks(size // 2 + 1, low, high, bands, rate, norm="slaney", mel_scale="slaney")
    return filters.T


def _at(clip: ReferenceClip, rate: int) -> Tensor:
    samples = clip.samples if clip.rate == rate else soxr.resample(clip.samples, clip.rate, rate)
    return torch.from_numpy(np.ascontiguousarray(samples, np.float32).clip(-1, 1))


def _open(path: Path, inputs: int, threads: int | None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads or 0
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's have no class of their own
        raise_machine_fault(error, f"{path} cannot be opened")
        raise UnavailableError(f"{path} is no graph, or it is damaged: {first_line(error)}") from error
    if len(session.get_inputs()) != inputs:
        raise UnavailableError(f"{path} is another graph: it has {len(session.get_inputs())} inputs, and not {inputs}")
    return session


def _run(session: onnxruntime.InferenceSession, *arrays: Any) -> Any:  # noqa: ANN401 - arrays
    names = [each.name for each in session.get_inputs()]
    return session.run(None, dict(zip(names, arrays, strict=True)))[0]
