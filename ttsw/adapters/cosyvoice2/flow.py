"""Speech tokens to a mel spectrogram, in the voice of a recording, piece by piece.

Decides which frames are computed when. Work goes on from the last whole chunk (`encoder` and `estimator` remember all
before it), so a piece costs the same whatever came before, and what is not a whole chunk yet is computed again with the
next piece. A piece may end anywhere: the first need not wait for the end of a chunk. What the recording's own chunks
become is the same for all that is said in a voice: it is computed once, and shared.
"""

from collections import OrderedDict
from collections.abc import Sequence
from threading import Condition

import torch
import torch.nn.functional as F  # noqa: N812 - as everywhere
from torch import Tensor

from ttsw.adapters.cosyvoice2.encoder import AHEAD, RATIO, Encoder, Past
from ttsw.adapters.cosyvoice2.estimator import Estimator
from ttsw.adapters.cosyvoice2.modules import CosyVoiceModules
from ttsw.adapters.cosyvoice2.reference_voice import CosyVoiceReference
from ttsw.adapters.cosyvoice2.stream import RECENT, STEPS, GeneratedMel, MelStream
from ttsw.adapters.pytorch.batch import POLL_S, Batch, check_cancelled

KEPT = 4
"""Voices whose recordings' chunks stay in memory, those that were used last; more while more are spoken with."""


class FlowPrompt:
    """What a voice's recording has become.

    Args:
        voice: The voice.
        stream: What is remembered of its frames.
        past: What is remembered of its tokens.
    """

    def __init__(self, voice: CosyVoiceReference, stream: MelStream, past: Past) -> None:
        self.voice, self.stream, self.past = voice, stream, past
        self.users = 0
        self.ready = False


class Spectrogram:
    """The spectrogram of one utterance, which comes as its tokens do.

    Args:
        prompt: What it goes on from.
    """

    def __init__(self, prompt: FlowPrompt) -> None:
        self.prompt, self.voice, self.past = prompt, prompt.voice, prompt.past
        self.stream = prompt.stream.fork()
        self.given = len(self.voice.tokens) * RATIO
        """Frames that are done with, the recording's among them."""


class Flow:
    """Makes mel spectrograms.

    Args:
        model: The model.
        places: How many utterances take their steps together.
    """

    def __init__(self, model: CosyVoiceModules, places: int) -> None:
        self._flow, self.chunk = model.flow, model.chunk
        self._noise = model.flow.decoder.rand_noise[0].T
        self._encoder = Encoder(model.flow, model.chunk)
        # of each utterance what is recent, one chunk that is being made and one that is not the prompt's alone
        self._estimator = Estimator(model.flow.decoder, model.chunk * RATIO, places * (RECENT + 2))
        self._batch: Batch[MelStream, GeneratedMel] = Batch(self._estimator.step, places)
        self._prompts: OrderedDict[int, FlowPrompt] = OrderedDict()
        self._changed = Condition()
        self.pages = self._estimator.pages

    def open(self, voice: CosyVoiceReference) -> Spectrogram:
        """Begin the spectrogram of an utterance. To be given to `close` whatever becomes of it.

        Raises:
            trio.Cancelled: The task that this thread works for was cancelled.
        """
        return Spectrogram(self._prompt(voice))

    def close(self, spectrogram: Spectrogram) -> None:
        """End it: its memory is free."""
        self._estimator.close(spectrogram.stream)
        self._leave(spectrogram.prompt)

    @torch.inference_mode()
    def push(self, to: Spectrogram, tokens: Sequence[int], *, end: bool) -> Tensor:
        """Give the frames that tokens complete, shape (frames, bands), float32.

        Args:
            to: The spectrogram.
            tokens: All of the utterance, those of earlier pieces too; without an end, `AHEAD` of them are only seen.
            end: There are no more.

        Raises:
            trio.Cancelled: The task that this thread works for was cancelled.
        """
        prompt = to.voice.tokens
        known = len(prompt) + len(tokens) - (0 if end else AHEAD)
        if known * RATIO <= to.given:
            return self._noise[:0]
        first, keep = to.past.tokens, 0 if end else known // self.chunk * self.chunk - to.past.tokens
        read = torch.cat([prompt, torch.tensor(tokens, dtype=torch.int64).to(prompt.device)])
        to.past = self._make(to.stream, to.voice, to.past, read[first:], keep, end=end)
        frames = to.stream.x[to.given - first * RATIO :]
        to.given = known * RATIO
        to.stream.forget(len(prompt) // self.chunk)
        return frames

    def _make(
        self, stream: MelStream, voice: CosyVoiceReference, past: Past, tokens: Tensor, keep: int, *, end: bool
    ) -> Past:
        """Make the frames of the tokens that follow what is remembered, of which `keep` are whole chunks."""
        guide, later = self._encoder.run(past, tokens, keep, end=end)
        start, count = past.tokens * RATIO, len(guide)
        shown = voice.mel[start : start + count].to(guide.dtype)
        given = torch.cat([guide, F.pad(shown, (0, 0, 0, count - len(shown)))], dim=1)
        stream.give(self._noise[start : start + count], given, keep // self.chunk)
        self._batch.advance(stream, STEPS - stream.step)
        return later

    def _prompt(self, voice: CosyVoiceReference) -> FlowPrompt:
        """Give what a voice's recording has become; those who ask for it at the same time wait for one of them."""
        key = id(voice.tokens)  # for as long as the entry holds it
        while True:
            with self._changed:
                found = self._prompts.get(key)
                if found is None:
                    prompt = self._prompts[key] = self._begin(voice)
                    break
                self._prompts.move_to_end(key)
                if found.ready:
                    found.users += 1
                    return found
                self._changed.wait(POLL_S)
            check_cancelled()
        try:
            self._read(prompt)
        except BaseException:
            with self._changed:
                del self._prompts[key]
            self._estimator.close(prompt.stream)
            raise
        with self._changed:
            prompt.users, prompt.ready = 1, True
            self._evict()
            self._changed.notify_all()
        return prompt

    @torch.inference_mode()
    def _begin(self, voice: CosyVoiceReference) -> FlowPrompt:
        project = self._flow.spk_embed_affine_layer
        speaker = project(F.normalize(voice.speaker.to(project.weight.dtype), dim=1))[0]
        return FlowPrompt(voice, MelStream(speaker), self._encoder.begin())

    @torch.inference_mode()
    def _read(self, prompt: FlowPrompt) -> None:
        """Compute those of a recording's chunks that nothing said after it can change."""
        tokens = prompt.voice.tokens
        keep = max(0, len(tokens) - AHEAD) // self.chunk * self.chunk
        if keep:
            prompt.past = self._make(prompt.stream, prompt.voice, prompt.past, tokens[: keep + AHEAD], keep, end=False)
            prompt.stream.forget(keep // self.chunk)

    def _leave(self, prompt: FlowPrompt) -> None:
        with self._changed:
            prompt.users -= 1
            self._evict()

    def _evict(self) -> None:
        """Let go of what was not used for longest and is not in use, if there is too much."""
        idle = [key for key, each in self._prompts.items() if each.ready and not each.users]
        for key in idle[: max(0, len(self._prompts) - KEPT)]:
            self._estimator.close(self._prompts.pop(key).stream)
