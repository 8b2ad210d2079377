"""The interface of a loaded model to the layers above, wherever its engine runs."""

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
    """Description of a loaded model, from its adapter.

    Args:
        pack: Its voice pack.
        sample_rate: Sample rate of its chunks, Hz.
        concurrency: Most concurrent steps.
        options: Its session options.
        info: Description and capabilities, in plain values.
        prepares: Whether `Host.prepare` does anything.
    """

    pack: VoicePack
    sample_rate: int
    concurrency: int
    options: Mapping[str, Option]
    info: Mapping[str, Any]
    prepares: bool = False


def describe(adapter: TTSAdapter) -> ModelDescription:
    """Return the description of an adapter."""
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
        """Number of steps that wait for a slot."""
        ...

    @property
    def about(self) -> Mapping[str, str]:
        """Details on where it runs, for listings."""
        ...

    async def prepare(self, options: Mapping[str, OptionValue]) -> None:
        """Prepare for speaking with these options; see `TTSAdapter.prepare`.

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
        """Speak one segment, and return when its last chunk has been taken.

        Args:
            text: The text.
            options: Parsed options.
            convert: Called with each chunk in a thread, so that sample processing stays off the event loop.
            take: Awaited with the result of `convert`, and the duration of the engine's step, seconds. While it waits,
                the engine runs at most a chunk or two ahead.

        Raises:
            InternalError: The engine failed.
            OutOfMemoryError: The device ran out of memory.
            UnavailableError: The engine has ended.
        """
        ...

    async def attach(self, pack: VoicePack) -> "Host":
        """Load a voice that is based on this model; see `TTSAdapter.attach`. It is closed before this host.

        Raises:
            OutOfMemoryError: The device ran out of memory.
            TtswError: The voice can't be loaded; the message says why.
        """
        ...

    async def lost(self) -> TtswError:
        """Wait until the model is lost without having been closed, and return the reason; maybe forever."""
        ...

    async def close(self) -> None:
        """Unload the model; shielded from cancellation, with a deadline of its own."""
        ...
