"""What all voices on one CSM share: the model, its steps, its codec, and how a part of a text becomes chunks."""

from collections.abc import Generator, Iterator, Sequence
from itertools import repeat

import numpy as np
import torch

from ttsw.adapters.base import EngineSettings
from ttsw.adapters.pytorch.audio import fade_out
from ttsw.adapters.pytorch.batch import Batch
from ttsw.adapters.pytorch.devices import prepare_device
from ttsw.adapters.pytorch.voice_cache import identify
from ttsw.adapters.pytorch.weights import pack_file
from ttsw.adapters.sesame.checkpoint import load_model
from ttsw.adapters.sesame.codec import FADE_S, Codec
from ttsw.adapters.sesame.context import ContextTurn, fitting
from ttsw.adapters.sesame.files import read_draws, read_tokenizer, weights_file
from ttsw.adapters.sesame.frames import CsmDecoder, CsmUtterance, GeneratedFrames
from ttsw.adapters.sesame.loras import NONE, Loras
from ttsw.adapters.sesame.reference_voice import keep_voices
from ttsw.adapters.sesame.sampling import SamplingDefaults
from ttsw.adapters.sesame.text import CsmTextPart, CsmTextReader
from ttsw.errors import UnavailableError
from ttsw.system.heap import trim_memory
from ttsw.types import Samples, VoicePack

CHUNKS = (1, 2, 4)
"""Frames of an utterance's first chunks, 80 ms each: the first is heard early, each makes time for a longer next."""
CHUNK = 6
"""Frames of all other chunks. On one core, the real model's codec takes 83 ms for a frame alone, 16 ms for each of six,
and 10 ms for each of twelve."""

GPU_PLACES = 8
CPU_PLACES = 4
"""Utterances that take their steps together."""

PLACE_POSITIONS = 512
"""What there is memory for from the start, for each of these: a recording to sound like, a text and 20 s of speech.
More is made if needed."""


class CsmEngine:
    """A loaded CSM.

    Args:
        pack: Its pack.
        settings: What the worker says.

    Raises:
        UnavailableError: A file of the pack isn't what it should be, or the device isn't there.
    """

    def __init__(self, pack: VoicePack, settings: EngineSettings) -> None:
        self.device = prepare_device(settings)
        self.clips = settings.clips
        self.places = settings.concurrency or (CPU_PLACES if self.device.type == "cpu" else GPU_PLACES)
        self.draws = read_draws(pack)
        self.model = load_model(pack, self.device)
        config = self.model.config
        tokenizer = read_tokenizer(pack_file(pack, "tokenizer.json"), config)
        self.positions = int(config.max_position_embeddings)
        self.reader = CsmTextReader(tokenizer, self.positions // 4)
        self.loras = Loras(self.device, self.model.kind)
        self.decoder = CsmDecoder(self.model, self.loras, self.places * PLACE_POSITIONS)
        self.batch: Batch[CsmUtterance, GeneratedFrames] = Batch(self.decoder.step, self.places)
        self.codec = Codec(self.model.codec_model)
        folder = None if settings.cache is None else settings.cache / "sesame"
        self.voices = keep_voices(self.codec, identify(weights_file(pack)), folder)

    def say(
        self,
        part: CsmTextPart,
        turns: Sequence[ContextTurn],
        draws: SamplingDefaults,
        chance: np.random.Generator,
        sizes: Iterator[int],
        *,
        lora: int = NONE,
    ) -> Generator[Samples, None, ContextTurn | None]:
        """Yield the audio of a part of a text as it comes.

        Args:
            part: What to say.
            turns: What was said before, as much of it as there is room for.
            draws: How to draw codes.
            chance: Decides the draws.
            sizes: Frames of each chunk.
            lora: The number of the voice.

        Returns:
            What was said, if the model found its end.
        """
        most = max(1, int(part.most_s * self.codec.frame_rate))
        utterance = self.decoder.open(self._prompt(turns, part), most, draws, chance, lora)
        try:
            speech = self.codec.open()
            while not utterance.done:
                self.batch.advance(utterance, next(sizes))
                audio = speech.push(utterance.take())
                if utterance.cut:
                    audio = fade_out(audio, round(FADE_S * self.codec.sample_rate))
                if len(audio):
                    yield audio
        finally:
            self.decoder.close(utterance)
        return ContextTurn(part.tokens, utterance.frames) if utterance.stopped and utterance.count > 1 else None

    def context(self, part: CsmTextPart, first: ContextTurn | None, turns: Sequence[ContextTurn]) -> list[ContextTurn]:
        """Choose what to go on from: the turn that a voice begins with, and of those since, the newest that have room.

        Args:
            part: What is to be said.
            first: A recording to sound like.
            turns: What was said since.
        """
        begun = [] if first is None else [first]
        room = self.positions - len(part.tokens) - int(part.most_s * self.codec.frame_rate)
        return [*begun, *fitting(turns, room - sum(turn.positions for turn in begun))]

    def remove(self, lora: int) -> None:
        """Give a LoRA's memory back, and nothing that would keep those waiting who go on speaking."""
        self.loras.remove(lora)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        trim_memory()

    def test(self, pack: VoicePack, lora: int = NONE, frames: int = 2) -> None:
        """Speak some frames: what is computed first takes longest, and shows whether it is sound.

        Raises:
            UnavailableError: It isn't.
        """
        part = next(self.reader.read("One.", 0))._replace(most_s=(frames + 0.5) / self.codec.frame_rate)
        chance = np.random.default_rng(0)
        try:
            sound = all(
                np.isfinite(each).all() for each in self.say(part, [], self.draws, chance, repeat(1), lora=lora)
            )
        except FloatingPointError:
            sound = False
        if not sound:
            raise UnavailableError(
                f"voice pack {pack.root}: what its model makes isn't finite; its weights are damaged"
            )

    @torch.inference_mode()
    def _prompt(self, turns: Sequence[ContextTurn], part: CsmTextPart) -> torch.Tensor:
        decoder, pieces = self.decoder, []
        if turns:
            end = decoder.embed_frames(torch.full((1, decoder.books), decoder.end))
            for turn in turns:
                pieces += [decoder.embed_text(turn.tokens), decoder.embed_frames(torch.from_numpy(turn.codes)), end]
        return torch.cat([*pieces, decoder.embed_text(part.tokens)])
