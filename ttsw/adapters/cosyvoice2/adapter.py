"""The CosyVoice 2 family's adapter: a cloned voice in four languages, on torch and CosyVoice's library.

It decides what the options mean, and how an utterance is split into pieces.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self
from zlib import crc32

import numpy as np
import torch

from ttsw.adapters.base import EngineSettings, TTSAdapter
from ttsw.adapters.cosyvoice2.checkpoint import DEFINITION, load_model
from ttsw.adapters.cosyvoice2.encoder import AHEAD
from ttsw.adapters.cosyvoice2.flow import Flow
from ttsw.adapters.cosyvoice2.language_model import (
    CosyVoiceSampling,
    CosyVoiceUtterance,
    GeneratedTokens,
    TokenGenerator,
    read_sampling,
)
from ttsw.adapters.cosyvoice2.modules import CosyVoiceModules
from ttsw.adapters.cosyvoice2.prompts import MOST_INSTRUCTION, MOST_TRANSCRIPT, PromptBuilder, TextPrompt
from ttsw.adapters.cosyvoice2.reference_voice import Cloner, CosyVoiceReference, keep_voices, read_speakers
from ttsw.adapters.cosyvoice2.text import LANGUAGES, CosyVoiceTextReader, read_tokenizer
from ttsw.adapters.cosyvoice2.vocoder import HiftVocoder
from ttsw.adapters.pytorch.batch import Batch, check_cancelled
from ttsw.adapters.pytorch.devices import give_back, prepare_device
from ttsw.errors import UnavailableError
from ttsw.options import Option, OptionValue
from ttsw.system.heap import trim_memory
from ttsw.types import Samples, VoicePack

FIRST = 13
"""Tokens of the first piece, 40 ms each: 0.36 s of it are heard at once. The library waits for 25 to 49."""

LEAST = 8
"""Tokens of the second piece, at least: it ends with a chunk of the flow, as all others do."""

GPU_PLACES = 8
CPU_PLACES = 2
"""Utterances per batch on a CPU."""

PLACE_POSITIONS = 768
"""What there is memory for from the start, for each of these: 6 s of recording, 10 s of speech, and their texts."""

SPEAKERS = "spk2info.pt"


class CosyVoice2Adapter(TTSAdapter):
    """Speaks with one CosyVoice 2 model, in any voice that it is shown, and as it is told.

    A segment is spoken at once, except where it has more tokens than the library gives the model. Utterances share the
    steps of the language model and of the flow; with a seed, each is what it would be alone, up to rounding.
    """

    options: ClassVar[Mapping[str, Option]] = {
        "language": Option("language", "language of the text; the model hears it by itself, numbers are read by it"),
        "speed": Option("float", "tempo, 1 is the voice's own", 1.0, 0.5, 2),
        "temperature": Option("float", "how daring the speech is", 1.0, 0.05, 2),
        "top_k": Option("int", "so many of the likeliest tokens are drawn from", None, 1, 10_000),
        "top_p": Option("float", "and of these the likeliest of this share together", None, 0.01, 1),
        "seed": Option("int", "the same seed, text and options give the same audio", None, 0, 2**63 - 1),
        "mode": Option(
            "str",
            "zero_shot goes on from what is said in the recording, cross_lingual takes its voice only; zero_shot where "
            "somebody has written down what is said, if not given",
            choices=("zero_shot", "cross_lingual"),
        ),
        "instruct": Option(
            "str",
            f"how to speak, in words: 'sound happy'; at most {MOST_INSTRUCTION} characters",
            longest=MOST_INSTRUCTION,
        ),
        "reference_text": Option(
            "str", "what is said in the recording, if it isn't written beside it", longest=MOST_TRANSCRIPT
        ),
        "reference_audio": Option(
            "str", "whom to sound like: a registered clip, or a recording of the voice pack", voice=True
        ),
        "speaker": Option("str", "a voice that the model brings, in place of reference_audio", voice=True),
    }

    def __init__(self, pack: VoicePack, model: CosyVoiceModules, settings: EngineSettings) -> None:
        super().__init__(pack)
        self._device = model.device
        self.concurrency = settings.concurrency or (CPU_PLACES if self._device.type == "cpu" else GPU_PLACES)
        self._model = model
        self._languages = tuple(dict.fromkeys(each for each in pack.languages or LANGUAGES if each in LANGUAGES))
        self._sampling = read_sampling(model.sampling)
        self._reader = CosyVoiceTextReader(read_tokenizer(pack, model.llm.llm.model.config.vocab_size))
        self._speaker = TokenGenerator(model.llm, self.concurrency * PLACE_POSITIONS)
        self._batch: Batch[CosyVoiceUtterance, GeneratedTokens] = Batch(self._speaker.step, self.concurrency)
        self._flow = Flow(model, self.concurrency)
        self._vocoder = HiftVocoder(model.hift)
        folder = None if settings.cache is None else settings.cache / "cosyvoice2"
        self._voices = keep_voices(Cloner(pack, model, settings.threads), model, folder)
        self._speakers = read_speakers(pack.files[SPEAKERS], model) if SPEAKERS in pack.files else {}
        self._prompts = PromptBuilder(pack, self._reader, self._voices, self._speakers, settings.clips)

    @classmethod
    def load(cls, pack: VoicePack, settings: EngineSettings) -> Self:
        """Load the pack's model; see `TTSAdapter.load`."""
        device = prepare_device(settings)
        model = load_model(pack, device)
        if model.sample_rate != pack.sample_rate:
            raise UnavailableError(
                f"voice pack {pack.root}: its metadata says {pack.sample_rate} Hz, but the model speaks at "
                f"{model.sample_rate} Hz; both must agree"
            )
        adapter = cls(pack, model, settings)
        if not adapter._languages:
            raise UnavailableError(
                f"voice pack {pack.root}: none of its languages ({', '.join(pack.languages)}) is one of the model's "
                f"({', '.join(LANGUAGES)})"
            )
        adapter._try()
        trim_memory()
        return adapter

    def session_options(self) -> Mapping[str, Option]:
        """The family's options, with this model's languages, speakers, and defaults."""
        options = dict(self.options)
        options["language"] = replace(options["language"], default=self._languages[0], choices=self._languages)
        options["top_k"] = replace(options["top_k"], default=self._sampling.top_k)
        options["top_p"] = replace(options["top_p"], default=self._sampling.top_p)
        if self._speakers:
            options["speaker"] = replace(options["speaker"], choices=tuple(self._speakers))
        else:
            del options["speaker"]
        return options

    def prepare(self, options: Mapping[str, OptionValue]) -> None:
        """Find the voice, and compute it if need be; see `TTSAdapter.prepare`.

        Raises:
            InvalidArgumentError: No voice can be cloned from the recording, what is said in it isn't known and must be,
                or options exclude each other.
            NotFoundError: There is no such recording.
        """
        # what the flow makes of a recording is the same for all that is said in it
        self._flow.close(self._flow.open(self._prompts.find(options, self._language(options)).voice))

    def speak(self, text: str, options: Mapping[str, OptionValue]) -> Iterator[Samples]:
        """Yield the segment's audio as it comes; see `TTSAdapter.speak` and `prepare`."""
        seed = options.get("seed")
        # the text is in the seed so that the segments of one utterance don't share their noise
        chance = np.random.default_rng(None if seed is None else [int(seed), crc32(text.encode(errors="replace"))])
        language = self._language(options)
        prompt = self._prompts.find(options, language)
        for tokens in self._reader.read(text, language):
            yield from self._say(tokens, prompt, options, chance)

    def close(self) -> None:
        """Drop the model, and give its memory back to the device and to the system."""
        del self._model, self._speaker, self._batch, self._flow, self._vocoder, self._voices, self._prompts
        give_back(self._device)

    @property
    def model_info(self) -> dict[str, Any]:
        """Return the description of the model, with the languages that it really speaks."""
        return super().model_info | {
            "languages": list(self._languages),
            "speakers": list(self._speakers),
            "scripts": "languages",
        }

    def _say(
        self,
        text: list[int],
        prompt: TextPrompt,
        options: Mapping[str, OptionValue],
        chance: np.random.Generator,
        *,
        most: int | None = None,
    ) -> Iterator[Samples]:
        chance, noise = chance.spawn(2)
        utterance = self._speaker.open(prompt.words, text, prompt.spoken, self._how(options), chance)
        utterance.most = min(utterance.most, most or utterance.most)
        spectrogram = self._flow.open(prompt.voice)
        try:
            speech, goal = self._vocoder.open(noise, float(options.get("speed", 1.0))), 0
            while not utterance.done:
                goal = next_goal(goal, len(prompt.voice.tokens), self._flow.chunk)
                while not utterance.done and (missing := goal + AHEAD - len(utterance.tokens)) > 0:
                    self._batch.advance(utterance, missing)
                end = utterance.done
                frames = self._flow.push(spectrogram, utterance.tokens, end=end)
                check_cancelled()
                audio = speech.push(frames, end=end, cut=end and not utterance.stopped)
                if not np.isfinite(audio).all():
                    raise FloatingPointError("the model's audio is not finite")
                if len(audio):
                    yield audio
        finally:
            self._speaker.close(utterance)
            self._flow.close(spectrogram)

    def _how(self, options: Mapping[str, OptionValue]) -> CosyVoiceSampling:
        own = self._sampling
        return replace(
            own,
            temperature=float(options.get("temperature", own.temperature)),
            top_k=int(options.get("top_k", own.top_k)),
            top_p=float(options.get("top_p", own.top_p)),
        )

    def _language(self, options: Mapping[str, OptionValue]) -> str:
        return str(options.get("language", self._languages[0]))

    def _try(self) -> None:
        """Speak some tokens in no voice at all: what is computed first takes longest, and shows whether it is sound."""
        model, device = self._model, self._device
        voice = CosyVoiceReference(
            torch.zeros(0, dtype=torch.int64, device=device),
            torch.zeros(0, model.mel["num_mels"], device=device),
            torch.ones(1, model.flow.spk_embed_affine_layer.in_features, device=device),
        )
        text = next(self._reader.read("One.", "en"))
        try:
            audio = [*self._say(text, TextPrompt(voice, [], voice.tokens), {}, np.random.default_rng(0), most=20)]
            sound = bool(audio)
        except FloatingPointError:
            sound = False
        if not sound:
            files = ", ".join(str(self.pack.files[f"{part}.pt"]) for part in ("llm", "flow", "hift"))
            raise UnavailableError(
                f"the model of {self.pack.files[DEFINITION]} makes no audio that is finite: one of {files} is damaged"
            )


def next_goal(tokens: int, prompt: int, chunk: int) -> int:
    """Say with how many tokens the next piece ends: the first soon, all others with a chunk of the flow.

    >>> [next_goal(each, 40, 25) for each in (0, 13, 35)]
    [13, 35, 60]
    """
    if not tokens:
        return FIRST
    return -(-(prompt + tokens + LEAST) // chunk) * chunk - prompt
