"""Whom to sound like: a recording and what is said in it, which the model reads as if it were the turn before."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from ttsw.adapters.pytorch.voice_cache import VoiceCache
from ttsw.adapters.reference_clip import ReferenceClip, read_clip
from ttsw.adapters.reference_lookup import SEED, find_recording, find_transcript
from ttsw.adapters.sesame.codec import Codec
from ttsw.adapters.sesame.context import ContextTurn
from ttsw.adapters.sesame.text import CsmTextReader
from ttsw.errors import InvalidArgumentError
from ttsw.options import OptionValue
from ttsw.types import VoicePack


class CsmReference(NamedTuple):
    """A recording, as the model reads it.

    Args:
        codes: Shape (frames, codebooks).
    """

    codes: Tensor


def keep_voices(
    codec: Codec, identity: str, folder: Path | None, read: Callable[[Path], ReferenceClip] = read_clip
) -> VoiceCache[CsmReference]:
    """Make the keeper of a model's voices.

    Args:
        codec: The model's.
        identity: What says which weights these are.
        folder: Where voices are kept; None keeps them in memory only.
        read: Reads a recording.
    """
    config = codec.model.config

    def check(voice: CsmReference) -> None:
        codes = voice.codes
        if codes.ndim != 2 or codes.shape[1] != config.num_quantizers or codes.is_floating_point():
            raise ValueError(f"codes are {tuple(codes.shape)} and must be (n, {config.num_quantizers})")
        if not len(codes) or not 0 <= int(codes.min()) <= int(codes.max()) < config.codebook_size:
            raise ValueError("codes are none of the codec's")

    return VoiceCache(
        CsmReference,
        lambda path: CsmReference(codec.encode(read(path))),
        check,
        identity=identity,
        folder=folder,
        device=codec.device,
    )


class References:
    """What the voices of one pack sound like.

    Args:
        pack: The pack.
        voices: The keeper of the model's voices.
        reader: The model's reader.
        clips: Folder of the registered clips; None where there is none.
        most: Positions that a recording and its text may take.
    """

    def __init__(
        self, pack: VoicePack, voices: VoiceCache[CsmReference], reader: CsmTextReader, clips: Path | None, most: int
    ) -> None:
        self._pack, self._voices, self._reader, self._clips, self._most = pack, voices, reader, clips, most

    def find(self, options: Mapping[str, OptionValue]) -> ContextTurn | None:
        """Give the turn that speech goes on from; None where there is none to sound like.

        Raises:
            InvalidArgumentError: There is a recording, but not what is said in it, or the reverse, or it can't be read.
            NotFoundError: There is no such recording.
        """
        named, said = options.get("reference_audio"), options.get("reference_text")
        if named is None and SEED not in self._pack.files:
            if said is not None:
                raise InvalidArgumentError(
                    "reference_text is what is said in a recording: name that, as reference_audio"
                )
            return None
        path = find_recording(None if named is None else str(named), self._pack, self._clips)
        text = find_transcript(path) if said is None else " ".join(str(said).split())
        if not text or not any(letter.isalnum() for letter in text):
            raise InvalidArgumentError(
                f"what is said in {path.name} isn't known, and without it the model can't sound like it: give it as "
                f"reference_text, or write it into {path.with_suffix('.txt').name} beside the recording"
            )
        tokens = self._reader.encode(text, int(options.get("speaker", 0)))
        turn = ContextTurn(tokens, self._voices.get(path).codes.cpu().numpy().astype(np.int16))
        if turn.positions > self._most:
            raise InvalidArgumentError(
                f"{path.name} and what is said in it take {turn.positions} positions of the model's memory, and "
                f"may take {self._most}: use a shorter recording"
            )
        return turn
