"""Host of a voice that shares the model, and so the process, of another host: a LoRA voice on its base model."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Protocol, TypeVar

import trio

from ttsw.adapters.hosts.base import ModelDescription
from ttsw.adapters.hosts.launch import LEAVE_S
from ttsw.errors import TtswError, UnavailableError
from ttsw.options import OptionValue
from ttsw.types import Samples, VoicePack

T = TypeVar("T")


class BaseHost(Protocol):
    """The host of the shared model, which addresses each of its voices by number."""

    @property
    def pid(self) -> int | None:
        """The engine process's id."""
        ...

    async def prepare(self, options: Mapping[str, OptionValue], voice: int) -> None:
        """Prepare a voice for a session; see `Host.prepare`."""
        ...

    async def speak(
        self,
        text: str,
        options: Mapping[str, OptionValue],
        convert: Callable[[Samples], T],
        take: Callable[[T, float], Awaitable[None]],
        voice: int,
    ) -> None:
        """Speak a text with a voice; see `Host.speak`."""
        ...

    async def drop(self, voice: int) -> None:
        """Unload a voice.

        Raises:
            UnavailableError: The process has ended.
        """
        ...

    async def lost(self) -> TtswError:
        """Wait until the process has ended without being closed; return the reason."""
        ...


class AttachedHost:
    """A voice on a model that another host runs in a process; from `ProcessHost.attach`."""

    def __init__(self, base: BaseHost, voice: int, model: ModelDescription) -> None:
        self.model = model
        self._base, self._voice = base, voice

    def __repr__(self) -> str:
        return f"<AttachedHost {self.model.pack.model_id} on {self._base!r}>"

    @property
    def waiting(self) -> int:
        """Return 0: the steps of attached voices wait in the base model's queue."""
        return 0

    @property
    def about(self) -> Mapping[str, str]:
        """See `Host.about`."""
        return {"host": "process", "pid": str(self._base.pid)}

    async def prepare(self, options: Mapping[str, OptionValue]) -> None:
        """See `Host.prepare`."""
        await self._base.prepare(options, self._voice)

    async def speak(
        self,
        text: str,
        options: Mapping[str, OptionValue],
        convert: Callable[[Samples], T],
        take: Callable[[T, float], Awaitable[None]],
    ) -> None:
        """See `ProcessHost.speak`."""
        await self._base.speak(text, options, convert, take, self._voice)

    async def attach(self, pack: VoicePack) -> "AttachedHost":
        """Refuse: an attached voice can't be the base of another.

        Raises:
            UnavailableError: Always.
        """
        raise UnavailableError(f"voice pack {pack.root}: {self.model.pack.model_id} is based on another model itself")

    async def lost(self) -> TtswError:
        """See `Host.lost`: the process is lost with all its voices."""
        return await self._base.lost()

    async def close(self) -> None:
        """Unload the voice; a process that has ended needs no unloading."""
        with trio.move_on_after(LEAVE_S, shield=True), suppress(UnavailableError):
            await self._base.drop(self._voice)
