"""The Piper family: VITS voices as ONNX graphs, on ONNX Runtime in this process.

Decides which files of a pack are the voice, how a text becomes phonemes and inferences, and what the options mean. How
the graph is cut and run is left to `ttsw.adapters.piper.graph` and `ttsw.adapters.piper.stream`; segmenting,
resampling and loudness to the layers above.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Self
from zlib import crc32

import numpy as np
import structlog
from piper import PiperConfig, PiperVoice

from ttsw.adapters.base import EngineSettings, TTSAdapter
from ttsw.adapters.piper.stream import Inference, PiperEngine, open_engine
from ttsw.errors import InvalidArgumentError, UnavailableError
from ttsw.formats.piper_files import read_voice
from ttsw.options import Option, OptionValue
from ttsw.system.extras import pip_line
from ttsw.system.heap import trim_memory
from ttsw.system.machine import explain_fault
from ttsw.types import Samples, VoicePack

log = structlog.get_logger(__name__)

THREADS = 1
"""Threads of one inference. One is ten times faster than real time, and puts the first window out in 60 to 100 ms; a
second makes a lone utterance up to 1.7 times faster, but costs the event loop its core, and busy cores gain nothing."""

MOST_PHONEMES = 500
"""Longest inference: half a minute of speech. The attention over its phonemes takes memory with the square of this."""

MOST_NOISE_W = 1.5
"""Most variation of the rhythm: with 2, a rare draw makes a text eight times as long, and its step takes 0.7 GB."""

MOST_CHOICES = 64
"""Up to so many speakers are listed by name; an error that lists a thousand fits no response."""

_EXTRAS = {"pinyin": "zh", "japanese": "ja", "thai": "th"}
"""What piper-tts calls the libraries that kinds of phonemes need."""

_UNCLOSED = re.compile(r"\[\[(?!.*?\]\])", re.DOTALL)


class PiperAdapter(TTSAdapter):
    """Speaks with one Piper voice.

    A segment is one inference, for its prosody's sake, except where it is longer than `MOST_PHONEMES`. Text within
    `[[ ]]` is phonemes, as everywhere in Piper. Nothing is normalised or clipped. `speed` scales durations before they
    are rounded up to frames, so it is gentle at its ends: 2 speaks 1.7 times as fast, 4 twice.
    """

    options: ClassVar[Mapping[str, Option]] = {
        "speed": Option("float", "tempo, 1 is the voice's own", 1.0, 0.25, 4),
        "noise_scale": Option("float", "variation of the sound; the voice's own if not given", None, 0, 2),
        "noise_w": Option("float", "variation of the rhythm; the voice's own if not given", None, 0, MOST_NOISE_W),
        "speaker": Option("str", "name or number of a speaker of the voice", voice=True),
        "seed": Option("int", "the same seed, text and options give the same audio", None, 0, 2**63 - 1),
    }

    def __init__(self, pack: VoicePack, voice: PiperVoice, engine: PiperEngine) -> None:
        super().__init__(pack)
        self._voice = voice
        self._config: PiperConfig = voice.config
        self._engine = engine
        self._lacks: set[str] = set()

    @classmethod
    def load(cls, pack: VoicePack, settings: EngineSettings) -> Self:
        """Load the pack's voice; see `TTSAdapter.load`."""
        model, config_path = _voice_files(pack)
        config = _read_config(config_path, model)
        if config.sample_rate != pack.sample_rate:
            raise UnavailableError(
                f"voice pack {pack.root}: its metadata says {pack.sample_rate} Hz, but {config_path} says "
                f"{config.sample_rate} Hz; both must agree"
            )
        voice = PiperVoice(session=None, config=config, download_dir=pack.root)
        trial = _trial(voice, config_path)
        threads = settings.threads or THREADS
        adapter = cls(pack, voice, open_engine(model, threads, trial, settings.device))
        adapter.concurrency = settings.concurrency or max(1, (os.cpu_count() or 1) // threads)
        trim_memory()
        return adapter

    def session_options(self) -> Mapping[str, Option]:
        """The family's options, without those that this voice lacks: other speakers, or noise that can be repeated."""
        options = dict(self.options)
        if not self._engine.seeded:
            del options["seed"]
        if self._config.num_speakers == 1:
            del options["speaker"]
        elif self._config.num_speakers <= MOST_CHOICES:
            numbers = map(str, range(self._config.num_speakers))
            choices = tuple(dict.fromkeys([*self._config.speaker_id_map, *numbers]))
            options["speaker"] = replace(options["speaker"], choices=choices)
        return options

    def speak(self, text: str, options: Mapping[str, OptionValue]) -> Iterator[Samples]:
        """Yield the segment's audio in windows, a short one first; see `TTSAdapter.speak`.

        Raises:
            InvalidArgumentError: The voice has no such speaker.
        """
        seed = options.get("seed")
        # the text is in the seed so that the segments of one utterance don't share their noise
        chance = np.random.default_rng(None if seed is None else [int(seed), crc32(text.encode())])
        config = self._config
        how = Inference(
            ids=[],
            noise_scale=float(options.get("noise_scale", config.noise_scale)),
            length_scale=config.length_scale / float(options.get("speed", 1.0)),
            noise_w=float(options.get("noise_w", config.noise_w_scale)),
            speaker=self._speaker(options.get("speaker")),
        )
        for phonemes in self._phonemes(text):
            yield from self._engine.speak(replace(how, ids=self._voice.phonemes_to_ids(phonemes)), chance)

    def close(self) -> None:
        """Drop the graph, and give its memory back to the system."""
        self._engine.close()
        del self._engine
        trim_memory()

    def _speaker(self, named: OptionValue | None) -> int | None:
        config = self._config
        if config.num_speakers == 1:
            return None
        if named is None:
            return config.default_speaker_id
        known: dict[str, int] = {str(number): number for number in range(config.num_speakers)}
        known |= config.speaker_id_map
        if str(named) not in known:
            raise InvalidArgumentError(
                f"option speaker={str(named)[:40]!r} is not valid: the voice's {config.num_speakers} speakers are "
                f"0 to {config.num_speakers - 1}, or by name {', '.join(list(config.speaker_id_map)[:5])}, …"
            )
        return known[str(named)]

    def _phonemes(self, text: str) -> Iterator[list[str]]:
        """Yield the phonemes of each inference: as a rule one, none where there is nothing to say."""
        text = _UNCLOSED.sub("[", text)  # what Piper takes for phonemes to the end, less two characters
        phonemes = join(self._voice.phonemize(text))
        for part in split(self._known(phonemes), MOST_PHONEMES):
            if any(map(str.isalnum, part)):
                yield part

    def _known(self, phonemes: list[str]) -> list[str]:
        """Leave out phonemes that the voice lacks; the first time, say so."""
        known = self._config.phoneme_id_map
        if all(phoneme in known for phoneme in phonemes):
            return phonemes
        lacking = {phoneme for phoneme in phonemes if phoneme not in known}
        if not self._lacks:
            log.warning("phonemes missing from voice", model_id=self.pack.model_id, phonemes=sorted(lacking))
        self._lacks |= lacking
        return [phoneme for phoneme in phonemes if phoneme in known]


def join(sentences: list[list[str]]) -> list[str]:
    """Make one of the sentences that the phonemizer sees in a segment.

    A segment is one sentence, so a full stop within it is an abbreviation's ("Dr. Smith") and is not spoken; with it,
    the voice would pause for 50 to 200 ms more.

    >>> "".join(join([list("mister."), list("jones."), list("who?"), list("me.")]))
    'mister jones who? me.'
    """
    joined: list[str] = []
    for sentence in sentences:
        if joined:
            joined[-1:] = [" "] if joined[-1] == "." else [joined[-1], " "]
        joined += sentence
    return joined


def split(phonemes: list[str], most: int) -> Iterator[list[str]]:
    """Yield parts of at most `most` phonemes, cut between words where a part's second half has such a place.

    >>> ["".join(part) for part in split(list("one two three"), 8)]
    ['one two', ' three']
    """
    while len(phonemes) > most:
        gap = next((at for at in range(most, most // 2, -1) if phonemes[at] == " "), most)
        yield phonemes[:gap]
        phonemes = phonemes[gap:]
    if phonemes:
        yield phonemes


def _voice_files(pack: VoicePack) -> tuple[Path, Path]:
    models = sorted(name for name in pack.files if name.endswith(".onnx"))
    if len(models) != 1:
        raise UnavailableError(
            f"voice pack {pack.root}: a Piper voice is one .onnx file; this pack has {', '.join(models) or 'none'}"
        )
    names = (f"{models[0]}.json", "config.json")
    for name in names:
        if name in pack.files:
            return pack.files[models[0]], pack.files[name]
    raise UnavailableError(f"voice pack {pack.root}: it has neither {' nor '.join(names)}, the voice's configuration")


def _read_config(path: Path, model: Path) -> PiperConfig:
    try:
        return PiperConfig.from_dict(read_voice(path, model).to_piper())
    except InvalidArgumentError as error:
        raise UnavailableError(str(error)) from error


def _trial(voice: PiperVoice, config_path: Path) -> Inference:
    """What a voice says when it is loaded, to show that its phonemizer and its graph work: a second of speech.

    It holds the highest phoneme and the last speaker: where they are in the graph's tables, all are.
    """
    config: PiperConfig = voice.config
    known = config.phoneme_id_map
    what = f"{config_path}: its phonemes ({config.phoneme_type.value}) cannot be made here"
    try:
        voice.phonemize("a")
        symbols = [name for name in known if name.isalpha()][:20]
        ids = voice.phonemes_to_ids([*symbols, max(known, key=lambda name: max(known[name]))])
    except ImportError as error:
        extra = _EXTRAS.get(config.phoneme_type.value)
        helps = pip_line("install", f"piper-tts[{extra}]") if extra else f"install the package {error.name}"
        raise UnavailableError(f"{what}, since {error.name} is not installed: {helps}") from error
    except Exception as error:  # the phonemizers' errors have no base of their own
        raise explain_fault(what, error) or UnavailableError(f"{what}: {error}") from error
    speaker = config.num_speakers - 1 if config.num_speakers > 1 else None
    return Inference(ids, config.noise_scale, config.length_scale, config.noise_w_scale, speaker)
