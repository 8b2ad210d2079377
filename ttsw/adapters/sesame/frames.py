"""Frames of codes, one a step for many utterances: the backbone says the first code of each, the depth decoder others.

Decides what a step computes. Utterances of any length, voice and setting share it. What each has seen is kept in pages
(`ttsw.adapters.pytorch.llama`). Who makes steps when is the batch's.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - as everywhere
from numpy.typing import NDArray
from torch import Tensor

from ttsw.adapters.pytorch.llama import Layers, Paged
from ttsw.adapters.sesame.checkpoint import Csm
from ttsw.adapters.sesame.depth import Depth
from ttsw.adapters.sesame.loras import NONE, Loras
from ttsw.adapters.sesame.sampling import SamplingDefaults, draw, prepare

Codes = NDArray[np.int16]
"""Frames of codes, shape (frames, codebooks)."""

CPU_PIECE, GPU_PIECE = 128, 512
"""Positions of what was said before that are read in one step: others wait for so many at most."""

BACKBONE, DEPTH, HEAD = "backbone_model.", "depth_decoder.model.", "lm_head"


class GeneratedFrames(NamedTuple):
    """What a step made for an utterance.

    Args:
        length: Positions that the utterance has filled by now.
        codes: Its next frame, shape (codebooks,); None if its prompt isn't read to its end.
        frame: The same on the device.
        sound: Whether the model's output was finite.
    """

    length: int
    codes: Codes | None = None
    frame: Tensor | None = None
    sound: bool = True


class CsmUtterance:
    """A text on its way to frames. A row of the batch.

    Args:
        prompt: What the model reads before it speaks, shape (positions, channels).
        most: Frames after which it is cut off.
        end: The code that the last frame is made of.
        draws: How to draw codes.
        chance: Decides the draws.
        codebooks: How many codes a frame has.
        lora: The number of its voice.
    """

    def __init__(
        self,
        prompt: Tensor,
        most: int,
        *,
        end: int,
        draws: SamplingDefaults,
        chance: np.random.Generator,
        codebooks: int,
        lora: int = NONE,
    ) -> None:
        self.prompt, self.most, self.draws, self.lora = prompt, most, draws, lora
        self.pages: list[int] = []
        self.length = 0
        self.closed = False
        self.stopped = False
        self.frame: Tensor | None = None
        self.numbers = chance.random(codebooks, np.float32)
        self._chance, self._end = chance, end
        self._frames: list[Codes] = []
        self._new: list[Tensor] = []

    def __repr__(self) -> str:
        return f"<Utterance: {self.count} of at most {self.most} frames, {len(self.pages)} pages>"

    @property
    def count(self) -> int:
        """How many frames it has, the one that ends it included."""
        return len(self._frames)

    @property
    def done(self) -> bool:
        """Whether there will be no more frames."""
        return self.stopped or self.count >= self.most

    @property
    def cut(self) -> bool:
        """Whether it was cut off."""
        return not self.stopped and self.count >= self.most

    @property
    def reading(self) -> bool:
        """Whether there is something of its prompt to be read."""
        return self.length < len(self.prompt)

    @property
    def frames(self) -> Codes:
        """All that is to be heard, without the frame that ends it: shape (frames, codebooks)."""
        spoken = self._frames[:-1] if self.stopped else self._frames
        return np.stack(spoken) if spoken else np.empty((0, len(self.numbers)), np.int16)

    def accept(self, result: GeneratedFrames) -> None:
        """Take what a step made; see `Row.accept`.

        Raises:
            FloatingPointError: The model's output wasn't finite.
        """
        self.length = result.length
        if result.codes is None or result.frame is None:
            return
        if not result.sound:
            raise FloatingPointError("the model's output is not finite")
        self.numbers = self._chance.random(len(self.numbers), np.float32)
        self.frame = result.frame
        self._frames.append(result.codes)
        # as the library's `generate` has it, which doesn't look at the last code
        self.stopped = bool((result.codes[:-1] == self._end).all())
        if not self.stopped:
            self._new.append(result.frame)

    def take(self) -> Tensor:
        """Give the frames since the last time, on the device, shape (n, codebooks)."""
        taken, self._new = self._new, []
        return torch.stack(taken) if taken else torch.empty((0, len(self.numbers)), dtype=torch.long)


class CsmDecoder:
    """Makes steps for utterances.

    Args:
        model: The model, loaded.
        loras: The voices that share it.
        positions: How many positions to have pages for from the start; more are added when they are needed.
    """

    def __init__(self, model: Csm, loras: Loras, positions: int) -> None:
        config = model.config
        self.device, self.loras = model.device, loras
        self.books, self.end = int(config.num_codebooks), int(config.codebook_eos_token_id)
        self.most = int(config.max_position_embeddings)
        self._codes = int(config.codec_config.codebook_size)
        self._paged = Paged(Layers(model.backbone_model), positions)
        self._depth = Depth(model.depth_decoder, self._codes)
        self._head = model.lm_head.weight.detach()
        self._text = model.embed_text_tokens.weight.detach()
        self._audio = model.backbone_model.embed_tokens.embed_audio_tokens.weight.detach()
        self._offsets = torch.arange(self.books, device=self.device) * int(config.vocab_size)
        self._piece = CPU_PIECE if self.device.type == "cpu" else GPU_PIECE
        self.pages = self._paged.pages

    @torch.inference_mode()
    def embed_text(self, tokens: Sequence[int]) -> Tensor:
        """Give what the backbone reads for a text's tokens, shape (tokens, channels)."""
        return F.embedding(torch.tensor(tokens, device=self.device), self._text)

    @torch.inference_mode()
    def embed_frames(self, codes: Tensor) -> Tensor:
        """Give what the backbone reads for frames of codes, shape (frames, codebooks): (frames, channels)."""
        return F.embedding(codes.to(self.device).long() + self._offsets, self._audio).sum(1)

    def open(
        self, prompt: Tensor, most: int, draws: SamplingDefaults, chance: np.random.Generator, lora: int = NONE
    ) -> CsmUtterance:
        """Begin an utterance. To be given to `close` whatever becomes of it.

        Args:
            prompt: What the backbone reads first, shape (positions, channels).
            most: Frames after which it is cut off; the model's own limit of positions holds in any case.
            draws: How to draw codes.
            chance: Decides the draws.
            lora: The number of its voice.
        """
        most = min(most, self.most - len(prompt))
        return CsmUtterance(prompt, most, end=self.end, draws=draws, chance=chance, codebooks=self.books, lora=lora)

    def close(self, utterance: CsmUtterance) -> None:
        """End an utterance: its pages are free. A step under way may still write to them, but none to come."""
        self._paged.close(utterance)

    @torch.inference_mode()
    def step(self, utterances: Sequence[CsmUtterance]) -> list[GeneratedFrames | None]:
        """Make a step for each; of those that have something to read, for one. See `Batch`.

        A step of an utterance that reads takes longer, up to a piece: the others wait for one such at most, each time.
        """
        made: dict[CsmUtterance, GeneratedFrames] = {}
        going = [each for each in utterances if not each.reading and not each.closed]
        hidden = [self._go_on(going)] if going else []
        reads = next((each for each in utterances if each.reading and not each.closed), None)
        if reads is not None:
            last = self._read(reads)
            if last is None:
                made[reads] = GeneratedFrames(reads.length + self._piece)
            else:
                going.append(reads)
                hidden.append(last)
        if going:
            made.update(zip(going, self._speak(going, torch.cat(hidden)), strict=True))
        return [made.get(each) for each in utterances]

    def _read(self, utterance: CsmUtterance) -> Tensor | None:
        """Read a piece of a prompt; of the last, give what came out in the end, shape (1, channels)."""
        end = utterance.length + self._piece
        adapt = self.loras.adapt([utterance.lora], BACKBONE)
        hidden = self._paged.begin(utterance, utterance.prompt[utterance.length : end], adapt)
        return None if end < len(utterance.prompt) else hidden[-1:]

    def _go_on(self, utterances: Sequence[CsmUtterance]) -> Tensor:
        """Read each utterance's last frame, and give what came out, shape (utterances, channels)."""
        frames = torch.stack([each.frame for each in utterances if each.frame is not None])
        adapt = self.loras.adapt([each.lora for each in utterances], BACKBONE)
        return self._paged.advance(utterances, self.embed_frames(frames), adapt)

    def _speak(self, utterances: Sequence[CsmUtterance], hidden: Tensor) -> list[GeneratedFrames]:
        """Make a frame for each of what came out of the backbone."""
        chance = prepare(
            [each.numbers for each in utterances], [each.draws for each in utterances], self._codes, self.device
        )
        voices = [each.lora for each in utterances]
        logits = F.linear(hidden, self._head)
        add = self.loras.adapt(voices, "")
        more = None if add is None else add(HEAD, hidden)
        first, whole = draw((logits if more is None else logits + more)[:, : self._codes], chance, 0)
        twice = [voice for voice in voices for _ in range(2)]
        adapt, adapt_2 = (self.loras.adapt(each, DEPTH) for each in (voices, twice))
        frames, sums = self._depth.run(hidden, first, chance, adapt, adapt_2)
        sound = (whole + sums).isfinite()[:, None]
        table = torch.cat([frames, sound], dim=1).cpu().numpy().astype(np.int16)
        return [
            GeneratedFrames(max(each.length + 1, len(each.prompt)), table[row, :-1], frames[row], bool(table[row, -1]))
            for row, each in enumerate(utterances)
        ]
