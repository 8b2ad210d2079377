"""The XTTS-v2 family's adapter: a cloned voice in 17 languages, on torch and Coqui's library.

It decides which files of a pack are the model, what the options mean, and how an utterance is split into chunks.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain, repeat
from typing import Any, ClassVar, Self
from zlib import crc32

import numpy as np
import torch

from ttsw.adapters.base import EngineSettings, TTSAdapter
from ttsw.adapters.pytorch.batch import Batch
from ttsw.adapters.pytorch.devices import give_back, prepare_device
from ttsw.adapters.pytorch.sampling import SamplingOptions
from ttsw.adapters.pytorch.voice_cache import identify
from ttsw.adapters.reference_lookup import find_recording
from ttsw.adapters.xtts.checkpoint import load_model, weights_file
from ttsw.adapters.xtts.gpt import GeneratedLatents, XttsDecoder, XttsUtterance
from ttsw.adapters.xtts.imports import Xtts
from ttsw.adapters.xtts.reference_voice import XttsReference, keep_voices, read_speakers
from ttsw.adapters.xtts.text import XttsTextPart, XttsTextReader
from ttsw.adapters.xtts.vocoder import HifiganVocoder
from ttsw.errors import InvalidArgumentError, UnavailableError
from ttsw.options import Option, OptionValue
from ttsw.system.heap import trim_memory
from ttsw.types import Samples, VoicePack

CHUNKS = (8, 12, 18)
"""Tokens of an utterance's first chunks, 46 ms each: the first is heard early, each makes time for a longer next."""
CHUNK = 24
"""Tokens of all other chunks: what is computed twice around each, 7 tokens' worth, is a fifth of the vocoder's work."""

GPU_PLACES = 8
CPU_PLACES = 4
"""Utterances per batch on a CPU."""

PLACE_POSITIONS = 384
"""What there is memory for from the start, for each of these: 13 s of speech and its text. More is made if needed."""

SPEAKERS = "speakers_xtts.pth"


class XttsAdapter(TTSAdapter):
    """Speaks with one XTTS-v2 model, in any voice that it is shown.

    A segment is spoken at once, except where it is longer than the library's limits. Nothing is normalised or clipped.
    Utterances share the transformer's steps; with a seed, each is what it would be alone, up to rounding.
    """

    options: ClassVar[Mapping[str, Option]] = {
        "language": Option("language", "language of the text"),
        "speed": Option("float", "tempo, 1 is the voice's own", 1.0, 0.5, 2),
        "temperature": Option("float", "how daring the speech is; the model's own if not given", None, 0.05, 2),
        "top_k": Option("int", "so many of the likeliest tokens are drawn from, 0 for all", None, 0, 10_000),
        "top_p": Option("float", "and of these the likeliest of this share together", None, 0.01, 1),
        "repetition_penalty": Option("float", "how much tokens that were there before are avoided", None, 1, 20),
        "seed": Option("int", "the same seed, text and options give the same audio", None, 0, 2**63 - 1),
        "reference_audio": Option(
            "str", "whom to sound like: a registered clip, or a recording of the voice pack", voice=True
        ),
        "speaker": Option("str", "a voice that the model brings, in place of reference_audio", voice=True),
    }

    def __init__(self, pack: VoicePack, model: Xtts, settings: EngineSettings) -> None:
        super().__init__(pack)
        self._clips, self._device = settings.clips, model.gpt.mel_head.weight.device
        self.concurrency = settings.concurrency or (CPU_PLACES if self._device.type == "cpu" else GPU_PLACES)
        self._model, self._config = model, model.config
        self._languages = spoken(model.config.languages, pack.languages)
        self._reader = XttsTextReader(model.tokenizer, model.config.model_args.gpt_max_text_tokens)
        self._decoder = XttsDecoder(model.gpt, self.concurrency * PLACE_POSITIONS)
        self._batch: Batch[XttsUtterance, GeneratedLatents] = Batch(self._decoder.step, self.concurrency)
        self._vocoder = HifiganVocoder(model.hifigan_decoder)
        self._tokens_per_s = model.config.model_args.input_sample_rate / model.gpt.code_stride_len
        folder = None if settings.cache is None else settings.cache / "xtts-v2"
        self._voices = keep_voices(model, identify(weights_file(pack)), folder)
        self._speakers = read_speakers(pack.files[SPEAKERS], model) if SPEAKERS in pack.files else {}

    @classmethod
    def load(cls, pack: VoicePack, settings: EngineSettings) -> Self:
        """Load the pack's model; see `TTSAdapter.load`."""
        device = prepare_device(settings)
        adapter = cls(pack, load_model(pack, device), settings)
        if adapter._vocoder.sample_rate != pack.sample_rate:
            raise UnavailableError(
                f"voice pack {pack.root}: its metadata says {pack.sample_rate} Hz, but the model speaks at "
                f"{adapter._vocoder.sample_rate} Hz; both must agree"
            )
        if not adapter._languages:
            raise UnavailableError(
                f"voice pack {pack.root}: none of its languages ({', '.join(pack.languages)}) is one of the model's "
                f"({', '.join(adapter._config.languages)})"
            )
        adapter._try()
        trim_memory()
        return adapter

    def session_options(self) -> Mapping[str, Option]:
        """The family's options, with this model's languages, speakers, and defaults."""
        options = dict(self.options)
        options["language"] = replace(options["language"], default=self._languages[0], choices=self._languages)
        for name in ("temperature", "top_k", "top_p", "repetition_penalty"):
            option = options[name]
            own = min(max(getattr(self._config, name), option.low), option.high)
            options[name] = replace(option, default=own)
        if self._speakers:
            options["speaker"] = replace(options["speaker"], choices=tuple(self._speakers))
        else:
            del options["speaker"]
        return options

    def prepare(self, options: Mapping[str, OptionValue]) -> None:
        """Find the voice, compute it if need be, and see that the language can be read; see `TTSAdapter.prepare`.

        Raises:
            InvalidArgumentError: No voice can be cloned from the recording, or two voices are named.
            NotFoundError: There is no such recording.
            UnavailableError: What the library needs for the language isn't installed.
        """
        self._reader.check(self._language(options))
        self._voice(options)

    def speak(self, text: str, options: Mapping[str, OptionValue]) -> Iterator[Samples]:
        """Yield the segment's audio as it comes; see `TTSAdapter.speak` and `prepare`."""
        seed = options.get("seed")
        # the text is in the seed so that the segments of one utterance don't share their noise
        chance = np.random.default_rng(None if seed is None else [int(seed), crc32(text.encode(errors="replace"))])
        voice = self._voice(options)
        sizes = chain(CHUNKS, repeat(CHUNK))
        for part in self._reader.read(text, self._language(options)):
            yield from self._say(part, voice, options, chance, sizes)

    def close(self) -> None:
        """Drop the model, and give its memory back to the device and to the system."""
        del self._model, self._decoder, self._batch, self._vocoder, self._voices, self._speakers
        give_back(self._device)

    @property
    def model_info(self) -> dict[str, Any]:
        """Return the description of the model, with the languages that it really speaks."""
        return super().model_info | {"languages": list(self._languages), "speakers": list(self._speakers)}

    def _say(
        self,
        part: XttsTextPart,
        voice: XttsReference,
        options: Mapping[str, OptionValue],
        chance: np.random.Generator,
        sizes: Iterator[int],
    ) -> Iterator[Samples]:
        most = max(1, int(part.most_s * self._tokens_per_s))
        utterance = self._decoder.open(voice.latents, part.tokens, most, self._sampling(options), chance)
        try:
            speech = self._vocoder.open(voice.speaker, float(options.get("speed", 1.0)))
            while not utterance.done:
                self._batch.advance(utterance, next(sizes))
                end = utterance.done
                audio = speech.push(utterance.take(), end=end, cut=end and not utterance.stopped)
                if len(audio):
                    yield audio
        finally:
            self._decoder.close(utterance)

    def _sampling(self, options: Mapping[str, OptionValue]) -> SamplingOptions:
        config = self._config
        return SamplingOptions(
            temperature=float(options.get("temperature", config.temperature)),
            top_k=int(options.get("top_k", config.top_k)),
            top_p=float(options.get("top_p", config.top_p)),
            repetition_penalty=float(options.get("repetition_penalty", config.repetition_penalty)),
        )

    def _language(self, options: Mapping[str, OptionValue]) -> str:
        return str(options.get("language", self._languages[0]))

    def _voice(self, options: Mapping[str, OptionValue]) -> XttsReference:
        speaker, recording = options.get("speaker"), options.get("reference_audio")
        if speaker is not None and recording is not None:
            raise InvalidArgumentError("options speaker and reference_audio both name a voice; give one of them")
        if speaker is not None:
            return self._speakers[str(speaker)]
        return self._voices.get(find_recording(None if recording is None else str(recording), self.pack, self._clips))

    def _try(self) -> None:
        """Speak some tokens in no voice at all: what is computed first takes longest, and shows whether it is sound."""
        args = self._config.model_args
        voice = XttsReference(
            torch.zeros(1, 32, args.gpt_n_model_channels, device=self._device),
            torch.zeros(1, args.d_vector_dim, 1, device=self._device),
        )
        part = next(self._reader.read("One.", self._languages[0]), XttsTextPart([], 0.0))._replace(most_s=0.5)
        try:
            audio = [*self._say(part, voice, {}, np.random.default_rng(0), repeat(CHUNKS[0]))]
            sound = bool(audio) and all(np.isfinite(each).all() for each in audio)
        except FloatingPointError:
            sound = False
        if not sound:
            raise UnavailableError(f"{weights_file(self.pack)} makes no audio that is finite: its weights are damaged")


def spoken(known: list[str], wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Say which of a model's languages a pack offers, in the pack's order; all, if it names none.

    >>> spoken(["en", "zh-cn"], ("zh", "en-gb", "fr"))
    ('zh-cn', 'en')
    """
    names = {name.partition("-")[0]: name for name in known}
    found = (each if each in known else names.get(each.partition("-")[0]) for each in wanted or known)
    return tuple(dict.fromkeys(name for name in found if name is not None))
