"""A voice that is based on a model which another host runs in a process: the same process, another voice there."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import trio

from ttsw.adapters.hosts.base import ModelDescription
from ttsw.adapters.hosts.launch import LEAVE_S
from ttsw.errors import TtswError, UnavailableError
from ttsw.options import OptionValue
from ttsw.types import Samples, VoicePack

if TYPE_CHECKING:
    from ttsw.adapters.hosts.process import ProcessHost

T = TypeVar("T")


class AttachedHost:
    """A voice that is based on the model of a process, and shares that; from `ProcessHost.attach`."""

    def __init__(self, base: "ProcessHost", voice: int, model: ModelDescription) -> None:
        self.model = model
        self._base, self._voice = base, voice

    def __repr__(self) -> str:
        return f"<DerivedHost {self.model.pack.model_id} on {self._base!r}>"

    @property
    def waiting(self) -> int:
        """None of its own: its steps wait among those of the model."""
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
        """Load a voice that is based on this one; the engine says whether that can be."""
        raise UnavailableError(f"voice pack {pack.root}: {self.model.pack.model_id} is based on another model itself")

    async def lost(self) -> TtswError:
        """See `ProcessHost.lost`: with the process all goes."""
        return await self._base.lost()

    async def close(self) -> None:
        """Unload the voice; where the process has ended, it is gone already."""
        with trio.move_on_after(LEAVE_S, shield=True), suppress(UnavailableError):
            await self._base.drop(self._voice)
