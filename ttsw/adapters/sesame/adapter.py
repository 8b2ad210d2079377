"""The sesame family's adapter: CSM, which continues a conversation, on torch and transformers.

It decides what the options mean, which turns an utterance continues, and what a LoRA voice shares with its base model.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import chain, repeat
from typing import Any, ClassVar, Self
from zlib import crc32

import numpy as np

from ttsw.adapters.base import EngineSettings, TTSAdapter
from ttsw.adapters.pytorch.devices import give_back
from ttsw.adapters.sesame.context import MOST_TURNS, ContextStore, ContextTurn
from ttsw.adapters.sesame.engine import CHUNK, CHUNKS, CsmEngine
from ttsw.adapters.sesame.lora_cache import LoraCache
from ttsw.adapters.sesame.lora_files import find_lora, read_lora
from ttsw.adapters.sesame.loras import NONE
from ttsw.adapters.sesame.reference_voice import References
from ttsw.adapters.sesame.sampling import CsmSampling, SamplingDefaults
from ttsw.errors import UnavailableError
from ttsw.options import Option, OptionValue
from ttsw.system.heap import trim_memory
from ttsw.types import Samples, VoicePack

MOST_SPEAKER = 9
CONTEXT_TURNS = 2
"""Turns of the session that the next goes on from: enough to keep the tone, and read within a fraction of a second."""


class SesameAdapter(TTSAdapter):
    """Speaks with one CSM, or with a LoRA voice on one that is there already.

    A segment is spoken at once, except where it is longer than the model's limits. Nothing is normalised or clipped.
    Utterances share the model's steps, whatever their voices; with a seed, each is what it would be alone, up to
    rounding.
    """

    options: ClassVar[Mapping[str, Option]] = {
        "language": Option("language", "language of the text"),
        "speaker": Option("int", "who of a conversation speaks, by number", 0, 0, MOST_SPEAKER, voice=True),
        "temperature": Option("float", "how daring the speech is; the model's own if not given", None, 0.05, 2),
        "top_k": Option("int", "so many of the likeliest codes are drawn from, 0 for all", None, 0, 10_000),
        "seed": Option("int", "the same seed, text and options give the same audio", None, 0, 2**63 - 1),
        "context_turns": Option(
            "int", "how many earlier utterances of the session the next one goes on from", CONTEXT_TURNS, 0, MOST_TURNS
        ),
        "reference_audio": Option(
            "str", "whom to sound like: a registered clip, or a recording of the voice pack", voice=True
        ),
        "reference_text": Option(
            "str", "what is said in reference_audio, if it isn't written beside it", voice=True, longest=4_096
        ),
        "lora": Option("str", "a voice of the pack's own folder lora", voice=True),
        "session": Option("str", "which session's earlier utterances to go on from", internal=True),
    }

    def __init__(self, pack: VoicePack, engine: CsmEngine, lora: int = NONE) -> None:
        super().__init__(pack)
        self._engine, self._lora = engine, lora
        self.concurrency = engine.places
        self._languages = pack.languages or ("en",)
        self._references = References(pack, engine.voices, engine.reader, engine.clips, engine.positions // 2)
        self._turns = ContextStore(engine.positions)
        self._shelf = None if lora else LoraCache(pack.root, engine.model, engine.loras)

    @classmethod
    def load(cls, pack: VoicePack, settings: EngineSettings) -> Self:
        """Load the pack's model; see `TTSAdapter.load`."""
        engine = CsmEngine(pack, settings)
        check_rate(pack, engine)
        engine.test(pack)
        trim_memory()
        return cls(pack, engine)

    def attach(self, pack: VoicePack) -> "TTSAdapter":
        """Load a LoRA voice, as peft and Unsloth write it; see `TTSAdapter.attach`."""
        if self._lora:
            return super().attach(pack)
        if pack.base and pack.base != self.pack.model_id:
            raise UnavailableError(f"voice pack {pack.root} is based on {pack.base}, not on {self.pack.model_id}")
        check_rate(pack, self._engine)
        loras = self._engine.loras
        number = loras.add(read_lora(*find_lora(pack.files, pack.root), self._engine.model))
        try:
            self._engine.test(pack, number, 1)
        except BaseException:
            loras.remove(number)
            raise
        return type(self)(pack, self._engine, number)

    def session_options(self) -> Mapping[str, Option]:
        """The family's options, with this model's languages, LoRAs, and defaults."""
        options = dict(self.options)
        options["language"] = replace(options["language"], default=self._languages[0], choices=self._languages)
        first, rest = self._engine.draws
        for name in CsmSampling._fields:
            own = getattr(first, name)
            if own == getattr(rest, name) and options[name].low <= own <= options[name].high:
                options[name] = replace(options[name], default=own)
        if self._shelf is not None and self._shelf.names:
            options["lora"] = replace(options["lora"], choices=self._shelf.names)
        else:
            del options["lora"]
        return options

    def prepare(self, options: Mapping[str, OptionValue]) -> None:
        """Read the recording to sound like, and load the LoRA, if there are such; see `TTSAdapter.prepare`.

        Raises:
            InvalidArgumentError: A recording can't be gone on from, or what is said in it isn't known.
            NotFoundError: There is no such recording.
            UnavailableError: The LoRA can't be loaded.
        """
        self._references.find(options)
        with self._voice(options):
            pass

    def speak(self, text: str, options: Mapping[str, OptionValue]) -> Iterator[Samples]:
        """Yield the segment's audio as it comes; see `TTSAdapter.speak` and `prepare`."""
        engine, seed = self._engine, options.get("seed")
        # the text is in the seed so that the segments of one utterance don't share their noise
        chance = np.random.default_rng(None if seed is None else [int(seed), crc32(text.encode(errors="replace"))])
        first = self._references.find(options)
        session = self._session(options)
        wanted = int(options.get("context_turns", CONTEXT_TURNS))
        turns = [] if session is None else [*self._turns.get(session)]
        sizes = chain(CHUNKS, repeat(CHUNK))
        with self._voice(options) as lora:
            for part in engine.reader.read(text, int(options.get("speaker", 0))):
                before = engine.context(part, first, turns[len(turns) - wanted :] if wanted < len(turns) else turns)
                said: ContextTurn | None = yield from engine.say(
                    part, before, self._draws(options), chance, sizes, lora=lora
                )
                if said is not None:
                    turns.append(said)
                    if session is not None:
                        self._turns.add(session, said)

    def close(self) -> None:
        """Drop the model, or the LoRA, and give its memory back to the device and to the system."""
        engine, lora = self._engine, self._lora
        self._turns.forget()
        del self._engine, self._references, self._shelf
        if lora:
            engine.remove(lora)
            return
        device = engine.device
        del engine
        give_back(device)

    @property
    def model_info(self) -> dict[str, Any]:
        """Return the description of the model; for a LoRA voice, also its base model."""
        info = super().model_info | {"languages": list(self._languages)}
        if self._shelf is None:
            return info | {"lora": True, "base": self.pack.base}
        return info | {"loras": list(self._shelf.names)}

    def _voice(self, options: Mapping[str, OptionValue]) -> AbstractContextManager[int]:
        name = options.get("lora")
        return nullcontext(self._lora) if self._shelf is None or name is None else self._shelf.borrow(str(name))

    def _draws(self, options: Mapping[str, OptionValue]) -> SamplingDefaults:
        given = {name: options[name] for name in CsmSampling._fields if name in options}
        first, rest = (how._replace(**given) for how in self._engine.draws)  # type: ignore[arg-type]  # as parsed
        return SamplingDefaults(first, rest)

    def _session(self, options: Mapping[str, OptionValue]) -> tuple[object, ...] | None:
        """Say which turns to go on from: a session's, in this voice."""
        if options.get("session") is None:
            return None
        return tuple(options.get(name) for name in ("session", "lora", "reference_audio", "reference_text"))


def check_rate(pack: VoicePack, engine: CsmEngine) -> None:
    """See that a pack says at what rate the model speaks.

    Raises:
        UnavailableError: It says another.
    """
    if engine.codec.sample_rate != pack.sample_rate:
        raise UnavailableError(
            f"voice pack {pack.root}: its metadata says {pack.sample_rate} Hz, but the model speaks at "
            f"{engine.codec.sample_rate} Hz; both must agree"
        )
