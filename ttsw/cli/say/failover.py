"""Speech through whichever worker of a registry is best, for `ttsw say --redis`.

Decides which refusals lead to the next worker, and that none does once there was a sound: what was heard is never said
again. The registry is read anew before each attempt, since workers come and go.
"""

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, aclosing
from typing import Self

import trio

from ttsw.cli.say.synthesis import Hear, Text, speak_remotely
from ttsw.cli.ui.errors import leaves
from ttsw.errors import NotFoundError, ResourceExhaustedError, TtswError, UnavailableError
from ttsw.fronts.abi.client import open_client
from ttsw.registry.discovery import Wanted, find_workers, fits, pick
from ttsw.registry.opening import open_connection
from ttsw.registry.record import WorkerRecord

ANSWER_S = 3.0
"""How long a worker may take to be reached and to answer, s."""

_ELSEWHERE = (UnavailableError, ResourceExhaustedError, NotFoundError)
"""Refusals that another worker may not share."""


async def speak_with_failover(
    url: str, text: Text, model_id: str, options: Mapping[str, str], hear: Hear, *, tell: Callable[[str], None]
) -> None:
    """Speak through the best worker of a registry; through the next best where that one refuses, or dies unheard.

    Args:
        url: The registry.
        text: What to say.
        model_id: The model; empty for the worker's default.
        options: The session's options.
        hear: Called with each frame.
        tell: Called with a line on each worker that was of no use.

    Raises:
        TtswError: The registry can't be read, no worker is left, or the speech fails.
    """
    wanted = Wanted(model_id, "" if model_id else options.get("language", ""))
    listener = _Once(hear)
    async with open_connection(url) as registry, trio.open_nursery() as nursery:
        script = text if isinstance(text, str) else Script(text)
        if isinstance(script, Script):
            nursery.start_soon(script.run)
        tried: dict[str, str] = {}
        while True:
            listing = await find_workers(registry)
            worker = pick((each for each in listing.workers if each.addr not in tried), wanted, listing.now)
            if worker is None:
                raise _nobody(wanted, listing.workers, tried)
            try:
                await _alive(worker)
                async with open_client(*worker.address) as client:
                    await speak_remotely(client, script, model_id, options, listener.hear)
                break
            except (TtswError, BaseExceptionGroup) as error:
                faults = list(leaves(error))
                if listener.heard or not all(isinstance(fault, _ELSEWHERE) for fault in faults):
                    raise
                tried[worker.addr] = "; ".join(dict.fromkeys(map(str, faults)))
                tell(f"{worker.name} at {worker.addr} doesn't speak: {tried[worker.addr]}")
        nursery.cancel_scope.cancel(reason="spoken")


class Script:
    """A text that comes in pieces, and is read again from its beginning by each who iterates over it.

    Args:
        source: Where the pieces come from; read as far as somebody reads here, and never cancelled by him.
    """

    def __init__(self, source: AsyncIterable[str]) -> None:
        self._source = source
        self._pieces: list[str] = []
        self._wanted = 0
        self._over = False
        self._moved = trio.Condition()

    def __aiter__(self) -> "_Reader":
        return _Reader(self.read)

    async def run(self) -> None:
        """Read the source, until it ends."""
        source = aiter(self._source)
        async with AsyncExitStack() as stack:
            if isinstance(source, AsyncGenerator):
                await stack.enter_async_context(aclosing(source))
            async for piece in source:
                async with self._moved:
                    self._pieces.append(piece)
                    self._moved.notify_all()
                    while self._wanted < len(self._pieces):
                        await self._moved.wait()
        async with self._moved:
            self._over = True
            self._moved.notify_all()

    async def read(self, at: int) -> str | None:
        """Give a piece by its place, as soon as it is there; None beyond the end."""
        async with self._moved:
            self._wanted = max(self._wanted, at)
            self._moved.notify_all()
            while at >= len(self._pieces) and not self._over:
                await self._moved.wait()
        return self._pieces[at] if at < len(self._pieces) else None


class _Reader:
    def __init__(self, read: Callable[[int], Awaitable[str | None]]) -> None:
        self._read, self._at = read, 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        piece = await self._read(self._at)
        if piece is None:
            raise StopAsyncIteration
        self._at += 1
        return piece


class _Once:
    """A listener of several attempts, who hears of one."""

    def __init__(self, hear: Hear) -> None:
        self._hear, self._begun = hear, False
        self.heard = False

    def hear(self, pcm: bytes) -> None:
        """Take a frame; the time to the first one counts from the first attempt."""
        if pcm or not self._begun:
            self._hear(pcm)
        self._begun, self.heard = True, self.heard or bool(pcm)


async def _alive(worker: WorkerRecord) -> None:
    """See that a worker answers, so that one that hangs costs little.

    Raises:
        UnavailableError: It doesn't.
    """
    with trio.move_on_after(ANSWER_S):
        async with open_client(*worker.address) as client:
            await client.capabilities()
            return
    raise UnavailableError(f"no answer within {ANSWER_S:g} s")


def _nobody(wanted: Wanted, workers: tuple[WorkerRecord, ...], tried: Mapping[str, str]) -> UnavailableError:
    if tried:
        return UnavailableError(f"no worker speaks: {'; '.join(f'{addr}: {why}' for addr, why in tried.items())}")
    if not workers:
        return UnavailableError("no worker is registered; `ttsw workers` shows who is")
    what = " and ".join([
        *([f"model {wanted.model!r}"] if wanted.model else []),
        *([f"{wanted.language!r}"] if wanted.language else []),
    ])
    there = ", ".join(f"{each.name} ({each.state})" for each in workers if fits(each, Wanted())) or "none"
    return UnavailableError(f"no worker that is ready has {what or 'room'}; ready are: {there}")
