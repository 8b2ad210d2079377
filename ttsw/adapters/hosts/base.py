"""What the layers above see of a loaded model, wherever its engine runs."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from ttsw.adapters.base import TTSAdapter
from ttsw.errors import TtswError
from ttsw.options import Option, OptionValue
from ttsw.types import Samples, VoicePack

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """A loaded model as its adapter describes it.

    Args:
        pack: What it was loaded from.
        sample_rate: The rate of its chunks, Hz.
        concurrency: How many of its steps may run at the same time.
        options: The session options that it understands.
        info: What it is and can do, in plain values.
        prepares: Whether `Host.prepare` does anything.
    """

    pack: VoicePack
    sample_rate: int
    concurrency: int
    options: Mapping[str, Option]
    info: Mapping[str, Any]
    prepares: bool = False


def describe(adapter: TTSAdapter) -> ModelDescription:
    """Take down what an adapter says of itself."""
    return ModelDescription(
        adapter.pack,
        adapter.sample_rate,
        adapter.concurrency,
        adapter.session_options(),
        adapter.model_info,
        type(adapter).prepare is not TTSAdapter.prepare,
    )


class Host(Protocol):
    """Runs one loaded model."""

    model: ModelDescription

    @property
    def waiting(self) -> int:
        """Steps that wait for their turn."""
        ...

    @property
    def about(self) -> Mapping[str, str]:
        """Where it runs, for a person who lists models."""
        ...

    async def prepare(self, options: Mapping[str, OptionValue]) -> None:
        """Get ready to speak with these options; see `TTSAdapter.prepare`.

        Raises:
            TtswError: Nothing can be spoken with them.
        """
        ...

    async def speak(
        self,
        text: str,
        options: Mapping[str, OptionValue],
        convert: Callable[[Samples], T],
        take: Callable[[T, float], Awaitable[None]],
    ) -> None:
        """Speak one segment, and return when its last chunk is taken.

        Args:
            text: What to say.
            options: Parsed options.
            convert: Called with each chunk in a thread, so that work on samples stays off the event loop.
            take: Awaited with what `convert` made of a chunk, and the seconds that the engine's step took. While it
                waits, the engine gets no further than a chunk or two ahead.

        Raises:
            InternalError: The engine failed.
            OutOfMemoryError: Its device had no memory left.
            UnavailableError: It has ended.
        """
        ...

    async def attach(self, pack: VoicePack) -> "Host":
        """Load a voice that is based on this model; see `TTSAdapter.attach`. It is closed before this one is.

        Raises:
            OutOfMemoryError: There was no memory left for it.
            TtswError: It can't be loaded; the text says why.
        """
        ...

    async def lost(self) -> TtswError:
        """Wait until the model is gone though nobody has closed it; for ever, where that can't be. Says why."""
        ...

    async def close(self) -> None:
        """Unload the model; shielded from cancellation, with a deadline of its own."""
        ...
