"""The contract between ttsw and an engine: text in, float32 chunks at the engine's own rate out.

An adapter decides how its engine is loaded and called. Segmenting, resampling, loudness, framing, pacing, pause and
stop belong to the layers above; a host runs the adapter's code (`ttsw.adapters.hosts`).
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
    """Settings of an engine, from `engines.<family>` of the configuration and from placement.

    Args:
        threads: Threads per inference; None lets the adapter choose.
        concurrency: Concurrent inferences on one model; None lets the adapter choose.
        device: The model's device, as this process numbers it: `cpu`, or `cuda:0`.
        clips: Folder of registered reference recordings, `<name>.wav`; None if there is none.
        cache: Folder for computed data that may be lost at any time; None disables caching.
    """

    threads: int | None = None
    concurrency: int | None = None
    device: str = "cpu"
    clips: Path | None = None
    cache: Path | None = None


class TTSAdapter(ABC):
    """One loaded model. A family's package names its subclass in the entry point group `ttsw.adapters`.

    All methods are synchronous and run in worker threads, never in the event loop. Several utterances may be in
    progress at once, with their steps interleaved: keep the state of an utterance in the iterator that `speak` returns.
    """

    options: ClassVar[Mapping[str, Option]] = {}
    """The session options of this family.

    A family with conversation history declares an internal option `session`: its value is the same for all utterances
    of a session, and unique to it. Sessions end without notice, so bound the history.
    """

    concurrency: int = 1
    """Most concurrent steps on this model."""

    def __init__(self, pack: VoicePack) -> None:
        self.pack = pack

    @classmethod
    @abstractmethod
    def load(cls, pack: VoicePack, settings: EngineSettings) -> Self:
        """Load the model that `pack` describes. Blocks until it is loaded.

        Raises:
            TtswError: The pack cannot be loaded; the message names the file and the fault.
        """

    @property
    def sample_rate(self) -> int:
        """Sample rate of the chunks that `speak` yields, Hz."""
        return self.pack.sample_rate

    @abstractmethod
    def speak(self, text: str, options: Mapping[str, OptionValue]) -> Iterator[Samples]:
        """Speak one segment of text (a sentence or a part of one, never empty, without control characters).

        Each `next()` is one step, of whatever duration the engine needs for a chunk. An utterance is cancelled between
        two steps, by closing the iterator. A long wait inside a step must be cancellable by trio: use
        `trio.from_thread.run(trio.sleep, seconds)`, or call `trio.from_thread.check_cancelled()` regularly.

        Args:
            text: The text.
            options: Values of the options in `self.options`, parsed and within their bounds.

        Yields:
            Mono audio, shape (n,), float32, full scale ±1, at `sample_rate`.
        """

    def prepare(self, options: Mapping[str, OptionValue]) -> None:  # noqa: B027 - most engines need nothing
        """Prepare for speaking with these options; called when a session starts, before any text.

        Check here what an option's text alone can't show (does the recording exist?), and do work that would delay the
        first utterance.

        Args:
            options: Values as for `speak`.

        Raises:
            TtswError: Nothing can be spoken with these options; the message says why.
        """

    def attach(self, pack: VoicePack) -> "TTSAdapter":
        """Load a voice that is based on this model, as `pack.base` says, sharing this model's weights.

        The returned adapter speaks concurrently with this one and with other attached voices, and changes none of them.
        Its `close` frees only its own memory; it is closed before this one.

        Raises:
            TtswError: The pack can't be loaded, or doesn't fit this model; the message says why.
        """
        raise UnavailableError(
            f"voice pack {pack.root}: nothing is based on {pack.base}, since no two voices of the family "
            f"{self.pack.family!r} share a model"
        )

    def session_options(self) -> Mapping[str, Option]:
        """Return this model's options: the family's, narrowed to what the model has, such as its speakers."""
        return self.options

    def close(self) -> None:  # noqa: B027 - most engines free everything when they are dropped
        """Free what garbage collection would not."""

    @property
    def model_info(self) -> dict[str, Any]:
        """Return a description of the model and its capabilities, in plain values.

        `scripts` says which scripts it reads, if its languages don't tell: `any`, or `languages` for a model that
        detects the language by itself, so that one text may mix several.
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
