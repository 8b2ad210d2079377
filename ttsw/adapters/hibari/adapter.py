"""The hibari family: small English voices of one shape, each an ONNX graph, on ONNX Runtime in this process.

The graph turns phonemes into a spectrum, the library turns that into audio. Neither is run in windows: the graph's
products are quantised by the extremes of all frames, so that windows would not be the whole. Decides how a text becomes
inferences, how much of the silence around each is kept, and which of the library's weaknesses are kept from the worker.
Reading English and signal processing are the library's; segmenting, resampling and loudness the layers' above.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Self
from zlib import crc32

import numpy as np
import onnxruntime
from hibari import SAMPLE_RATE, dsp
from numpy.typing import NDArray

from ttsw.adapters.base import EngineSettings, TTSAdapter
from ttsw.adapters.hibari.english import EnglishReader
from ttsw.adapters.hibari.files import check_readable, find_file, read_symbols
from ttsw.adapters.memory import is_out_of_memory, raise_machine_fault, telling_memory
from ttsw.adapters.onnx.session import open_session
from ttsw.errors import UnavailableError
from ttsw.options import Option, OptionValue
from ttsw.system.heap import trim_memory
from ttsw.system.machine import cannot_read
from ttsw.types import Samples, VoicePack

THREADS = 1
"""Threads of one inference. One is 100 to 130 times faster than real time; a second makes 250 phonemes 1.35 times
faster, 80 and less not at all."""

MOST_PHONEMES = 250
"""Longest inference: 14 s of speech, 0.11 s of computing on one core, which nothing can interrupt."""

QUIET = -3.0
"""Natural logarithm of the magnitude that a frame must reach somewhere in order to count as sound. What is cut off
because of it is 48 dB or more below the speech."""
VOICED_HZ = 40.0
"""Pitch from which the library makes a frame voiced."""

LEAD_S = 0.05
"""Kept of the 0.3 s of silence before each inference, which a listener would wait for like for computing."""
PAUSES_S = {".!?…": 0.3, ",;:—": 0.15}
"""Kept at most of the 0.4 s of silence after each inference, which knows no marks, by the mark that it ends with."""
NO_PAUSE_S = 0.05
"""Kept where it ends with a word, so within a sentence that was cut."""

CHUNK_S = 1.0
"""Audio is made at once, but handed on in such pieces: what the layers above make of one is part of its step."""

_INPUTS = {"ids", "speed"}
_OUTPUTS = ("lh", "theta", "ln", "lr", "phi", "f0")
_PAUSE = re.compile(r"[,;:.!?…—][”)]* ")
_SPACE = re.compile(" ")


class HibariAdapter(TTSAdapter):
    """Speaks with one hibari voice.

    A segment is one inference, for its prosody's sake, except where it is longer than `MOST_PHONEMES`. `[word](/.../)`
    gives a word's phonemes, as everywhere in hibari. A pack whose languages hold en-gb is read as British English, any
    other as American; Chinese, Arabic and the like are not read at all. Nothing is normalised or clipped. Seeds only
    differ in a noise that is 50 dB below the speech. `speed` divides durations that are then rounded to frames: up to
    1.3 a recogniser errs about as often as at 1, at 1.35 four times, at 2 seven times as often.
    """

    options: ClassVar[Mapping[str, Option]] = {
        "speed": Option("float", "tempo, 1 is the voice's own; clear up to 1.3", 1.0, 0.5, 2),
        "seed": Option("int", "the same seed, text and options give the same audio", None, 0, 2**63 - 1),
    }

    def __init__(
        self, pack: VoicePack, graph: onnxruntime.InferenceSession, symbols: Mapping[str, int], reader: EnglishReader
    ) -> None:
        super().__init__(pack)
        self._graph = graph
        self._symbols = symbols
        self._reader = reader

    @classmethod
    def load(cls, pack: VoicePack, settings: EngineSettings) -> Self:
        """Load the pack's voice; see `TTSAdapter.load`."""
        if pack.sample_rate != SAMPLE_RATE:
            raise UnavailableError(
                f"voice pack {pack.root}: its metadata says {pack.sample_rate} Hz, but the model speaks at "
                f"{SAMPLE_RATE} Hz; both must agree"
            )
        if settings.device != "cpu":
            raise UnavailableError(
                f"a hibari voice runs on the CPU, not on {settings.device}: engines.hibari.device: cpu"
            )
        model, table = (find_file(pack, role) for role in ("model.onnx", "vocab.json"))
        threads = settings.threads or THREADS
        with telling_memory(f"for {model}"):
            graph = _open_graph(model, threads)
            symbols = read_symbols(table, model)
            adapter = cls(pack, graph, symbols, _open_reader(british=_british(pack)))
            adapter._try(model, table)
        adapter.concurrency = settings.concurrency or max(1, (os.cpu_count() or 1) // threads)
        trim_memory()
        return adapter

    def speak(self, text: str, options: Mapping[str, OptionValue]) -> Iterator[Samples]:
        """Yield the segment's audio second by second; see `TTSAdapter.speak`.

        Raises:
            OutOfMemoryError: There was no memory left for this segment.
        """
        seed = options.get("seed")
        # the text is in the seed so that the segments of one utterance don't share their noise
        chance = np.random.default_rng(None if seed is None else [int(seed), crc32(text.encode(errors="replace"))])
        speed = float(options.get("speed", 1.0))
        with telling_memory(f"to speak {len(text)} characters"):
            parts = [*split(self._reader.read(text), MOST_PHONEMES)]
        for part in parts:
            if any(symbol.isalpha() and symbol in self._symbols for symbol in part):
                with telling_memory(f"to speak {len(text)} characters"):
                    audio = self._infer(part, speed, chance)
                size = round(CHUNK_S * SAMPLE_RATE)
                yield from (audio[at : at + size] for at in range(0, len(audio), size))

    def close(self) -> None:
        """Drop the graph and what the library keeps, and give the memory back to the system."""
        del self._graph, self._reader
        dsp._ola_norm.cache_clear()  # a table for each of the last eight lengths, 1.5 MB each
        trim_memory()

    def _infer(self, phonemes: str, speed: float, chance: np.random.Generator) -> Samples:
        ids = [0, *(self._symbols[symbol] for symbol in phonemes if symbol in self._symbols), 0]
        feed = {"ids": np.array([ids], np.int64), "speed": np.array([speed], np.float32)}
        harmonic, angle, noise, free, phase, pitch = (part[0] for part in self._graph.run(_OUTPUTS, feed))
        loudest = np.maximum(noise, free).max(axis=0)
        kept = audible(loudest, pitch, pause_after(phonemes) / speed)
        if kept.stop == 0:
            return np.empty(0, np.float32)
        spectrum = (part[..., kept] for part in (harmonic, angle, noise, free, phase, pitch))
        audio: Samples = dsp.synth(*spectrum, chance)
        return audio

    def _try(self, model: Path, table: Path) -> None:
        """Speak a word, to show that the files fit each other."""
        fault = f"{model} and {table} don't fit each other, or are damaged"
        try:
            audio = self._infer(self._reader.read("One."), 1.0, np.random.default_rng(0))
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise UnavailableError(f"{fault}: {error}") from error
        if not (len(audio) and np.isfinite(audio).all()):
            raise UnavailableError(f"{fault}: they make no audio, or none that is finite")


def split(phonemes: str, most: int) -> Iterator[str]:
    """Yield parts of at most `most` phonemes: halves, and halves of halves.

    >>> [*split("one two, three four five", 16)]
    ['one two,', 'three four five']
    """
    phonemes = phonemes.strip()
    if len(phonemes) <= most:
        yield phonemes
        return
    cut = _middle(phonemes)
    yield from split(phonemes[:cut], most)
    yield from split(phonemes[cut:], most)


def _middle(phonemes: str) -> int:
    """The pause, failing that the space, that is the nearest to the middle; neither half gets less than a quarter."""
    middle, quarter = len(phonemes) // 2, len(phonemes) // 4
    for mark in (_PAUSE, _SPACE):
        ends = [found.end() for found in mark.finditer(phonemes, quarter, len(phonemes) - quarter)]
        if ends:
            return min(ends, key=lambda end: abs(end - middle))
    return middle


def pause_after(phonemes: str) -> float:
    """Seconds of silence to keep after an inference.

    >>> pause_after("(jɛs.)"), pause_after("ænd")
    (0.3, 0.05)
    """
    last = phonemes.rstrip(' "“”()')[-1:]
    return next((pause for marks, pause in PAUSES_S.items() if last and last in marks), NO_PAUSE_S)


def audible(loudest: NDArray[np.float32], pitch: NDArray[np.float32], pause_s: float) -> slice:
    """Find the frames from `LEAD_S` before the first that sounds to `pause_s` after the last; up to 0 if none does.

    Args:
        loudest: Of each frame, the logarithm of its greatest magnitude, harmonics of the pitch aside.
        pitch: Of each frame, Hz.
        pause_s: Silence to keep, s.
    """
    heard = np.flatnonzero((loudest > QUIET) | (pitch > VOICED_HZ))
    if not len(heard):
        return slice(0)
    per_s = SAMPLE_RATE / dsp.HOP
    return slice(max(0, int(heard[0]) - round(LEAD_S * per_s)), int(heard[-1]) + 1 + round(pause_s * per_s))


def _open_graph(path: Path, threads: int) -> onnxruntime.InferenceSession:
    try:
        session = open_session(path, threads)
    except Exception as error:  # ONNX Runtime's errors have no base of their own
        raise_machine_fault(error, f"{path} cannot be opened")
        check_readable(path)
        raise UnavailableError(f"{path} is not the graph of a hibari voice, or it is damaged: {error}") from error
    takes, gives = ([value.name for value in values] for values in (session.get_inputs(), session.get_outputs()))
    if not (set(takes) == _INPUTS and set(gives) >= set(_OUTPUTS)):
        raise UnavailableError(
            f"{path} is not the graph of a hibari voice: it makes {', '.join(gives)} of {', '.join(takes)}, and not "
            f"{', '.join(_OUTPUTS)} of {', '.join(sorted(_INPUTS))}"
        )
    return session


def _open_reader(*, british: bool) -> EnglishReader:
    try:
        return EnglishReader(british=british)
    except OSError as error:
        raise cannot_read(error.filename or "a table of the library hibari", error) from error


def _british(pack: VoicePack) -> bool:
    return any(language.lower().replace("_", "-") == "en-gb" for language in pack.languages)
