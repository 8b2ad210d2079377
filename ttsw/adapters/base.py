"""The contract between ttsw and an engine: text in, float32 chunks at the engine's own rate out.

An adapter decides how its engine is loaded and called. It leaves everything else (segmenting, resampling, loudness,
20 ms frames, pacing, pause, stop) to the layers above, and where its code runs to a host (`ttsw.adapters.hosts`).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from ttsw.errors import UnavailableError
from ttsw.options import Option, OptionValue
from ttsw.types import Samples, VoicePack


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What a worker says to an engine that it loads (`engines.<family>` of its configuration, and places).

    Args:
        threads: Threads that one inference may use; None leaves the choice to the adapter.
        concurrency: Inferences at once on one loaded model; None leaves the choice to the adapter.
        device: Where the model is to be, as this process names it: `cpu`, or `cuda:0`.
        clips: Folder of the reference recordings that users have registered, `<name>.wav`; None where there is none.
        cache: Folder for what a family computes once and may lose at any time; None where nothing is kept.
    """

    threads: int | None = None
    concurrency: int | None = None
    device: str = "cpu"
    clips: Path | None = None
    cache: Path | None = None


class TTSAdapter(ABC):
    """One loaded model. A family's package names its subclass in the entry point group `ttsw.adapters`.

    Every method is synchronous and runs in a worker thread, never in the event loop. Several utterances may be under
    way at once, their steps interleaved: keep what belongs to an utterance in the iterator that `speak` returns.
    """

    options: ClassVar[Mapping[str, Option]] = {}
    """The session options that this family understands.

    A family that remembers what it has said declares an internal option `session`: its value is the same for all
    utterances of a session, and never another's. Sessions end without a word, so what is remembered needs a bound.
    """

    concurrency: int = 1
    """How many steps may run at the same time on this model."""

    def __init__(self, pack: VoicePack) -> None:
        self.pack = pack

    @classmethod
    @abstractmethod
    def load(cls, pack: VoicePack, settings: EngineSettings) -> Self:
        """Load the model that `pack` describes. Blocks for as long as that takes.

        Raises:
            TtswError: The pack cannot be loaded; the text says what is wrong with which file.
        """

    @property
    def sample_rate(self) -> int:
        """The rate of the chunks that `speak` yields, Hz."""
        return self.pack.sample_rate

    @abstractmethod
    def speak(self, text: str, options: Mapping[str, OptionValue]) -> Iterator[Samples]:
        """Speak one segment of text (a sentence or a part of one, never empty, without control characters).

        Each `next()` is one step: it may be as long as the engine needs for a chunk, and a cancelled utterance is
        left between two steps (then the iterator is closed). A long wait inside a step is to be one that trio can
        cancel: `trio.from_thread.run(trio.sleep, seconds)`, or calls of `trio.from_thread.check_cancelled()`.

        Args:
            text: What to say.
            options: Values of the options in `self.options`, parsed and within their bounds.

        Yields:
            Mono audio, shape (n,), float32, full scale ±1, at `sample_rate`.
        """

    def prepare(self, options: Mapping[str, OptionValue]) -> None:  # noqa: B027 - most engines need nothing
        """Get ready to speak with these options, before there is a text: a session starts with this.

        Here belong checks that need more than an option's text (is there such a recording?), and work that the first
        utterance would otherwise wait for.

        Args:
            options: Values as `speak` gets them.

        Raises:
            TtswError: Nothing can be spoken with them; the text says why.
        """

    def attach(self, pack: VoicePack) -> "TTSAdapter":
        """Load a voice that is based on this model, as `pack.base` says: its own weights beside those that it shares.

        What is made so speaks beside this one, and beside others made so, without a change of either. Its `close`
        gives back what is its own; it is closed before this one is.

        Raises:
            TtswError: The pack can't be loaded, or doesn't fit this model; the text says why.
        """
        raise UnavailableError(
            f"voice pack {pack.root}: nothing is based on {pack.base}, since no two voices of the family "
            f"{self.pack.family!r} share a model"
        )

    def session_options(self) -> Mapping[str, Option]:
        """The options of this very model: those of the family, narrowed to what the model has (its speakers, say)."""
        return self.options

    def close(self) -> None:  # noqa: B027 - most engines free everything when they are dropped
        """Give back what garbage collection would not."""

    @property
    def model_info(self) -> dict[str, Any]:
        """What the model is and can do, in plain values.

        `scripts` says what it can read where its languages don't: `any`, or `languages` for a model that tells its
        languages apart by itself, so that a text may be in several.
        """
        pack = self.pack
        return {
            "model_id": pack.model_id,
            "family": pack.family,
            "version": pack.version,
            "sample_rate": self.sample_rate,
            "languages": list(pack.languages),
            "license": pack.license,
        } | asdict(pack.capabilities)
