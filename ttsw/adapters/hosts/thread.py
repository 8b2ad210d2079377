"""Host that runs an engine in threads of this process.

It decides which step runs next: each step of each utterance acquires one of the model's slots, first come first served.
So sessions on one model take turns chunk by chunk, and one that waits for its listener holds no slot.

It also decides when the adapter may be closed: once nothing of it runs any more, including the clean-up of iterators.
"""

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import TypeVar

import trio

from ttsw.adapters.base import EngineSettings, TTSAdapter
from ttsw.adapters.families import adapter_class
from ttsw.adapters.hosts.base import describe
from ttsw.adapters.memory import is_out_of_memory
from ttsw.concurrency.threads import Lane, run_in
from ttsw.errors import InternalError, OutOfMemoryError, TtswError, UnavailableError
from ttsw.options import OptionValue
from ttsw.types import Samples, VoicePack

log = logging.getLogger(__name__)  # structlog may be missing in an engine's interpreter

T = TypeVar("T")

CLOSE_S = 30.0
"""Longest time for an engine to finish its steps and unload, together, seconds."""


class ThreadHost:
    """Runs an adapter's steps in worker threads, at most `adapter.concurrency` at a time.

    Args:
        adapter: The loaded model.
        places: Slots shared with the model that this one is based on; None creates its own.
    """

    def __init__(self, adapter: TTSAdapter, places: trio.CapacityLimiter | None = None) -> None:
        self.adapter, self.model = adapter, describe(adapter)
        self._name = adapter.pack.model_id
        self._begun: dict[object, float] = {}
        self._places = trio.CapacityLimiter(adapter.concurrency) if places is None else places
        self._own = trio.CapacityLimiter(1)  # for work that needs no slot: attaching a voice, closing
        self._closed = False
        self._inside, self._left = 0, trio.lowlevel.ParkingLot()
        self._speaking: set[trio.CancelScope] = set()

    def __repr__(self) -> str:
        return f"<ThreadHost {self._name}: {self._places.borrowed_tokens} running, {self.waiting} waiting>"

    @property
    def waiting(self) -> int:
        """Number of steps that wait for a slot."""
        return self._places.statistics().tasks_waiting

    @property
    def about(self) -> Mapping[str, str]:
        """See `Host.about`."""
        return {"host": "thread"}

    @property
    def step_s(self) -> float:
        """Duration so far of the longest running step, seconds."""
        return monotonic() - min([monotonic(), *self._begun.copy().values()])

    async def prepare(self, options: Mapping[str, OptionValue]) -> None:
        """Prepare for speaking with these options; see `TTSAdapter.prepare`."""
        with self._using():
            await self._in_thread(self._prepare, options)

    async def speak(
        self,
        text: str,
        options: Mapping[str, OptionValue],
        convert: Callable[[Samples], T],
        take: Callable[[T, float], Awaitable[None]],
    ) -> None:
        """Speak one segment; see `Host.speak` and `ThreadHost.run`."""
        await self.run(
            text,
            options,
            lambda chunk, began: (convert(chunk), monotonic() - began),
            lambda step: take(*step),
        )

    async def run(
        self,
        text: str,
        options: Mapping[str, OptionValue],
        use: Callable[[Samples, float], T],
        take: Callable[[T], Awaitable[None]],
    ) -> None:
        """Speak one segment, step by step. While `take` waits, no slot is held, and the engine pauses.

        If cancelled, it lets the running step finish (the model's memory is never in use unobserved), closes the
        engine's iterator and returns. `close` ends it likewise, wherever it waits.

        Args:
            text: The text.
            options: Parsed options.
            use: Called in the engine's thread with each chunk, and the start of its step, by `time.monotonic`.
            take: Awaited with the result of `use`.

        Raises:
            TtswError: See `Host.speak`.
        """
        with self._using(), self._interruptible():
            chunks = self.adapter.speak(text, options)
            try:
                while (step := await self._in_thread(self._step, chunks, use)) is not None:
                    await take(step[0])
            except BaseException:
                with trio.move_on_after(CLOSE_S, shield=True) as scope:  # for the wait for a slot only
                    await trio.to_thread.run_sync(self._clean_up, chunks, limiter=self._places)
                if scope.cancelled_caught:
                    log.warning("an utterance of %s was left open: no place in %g s", self._name, CLOSE_S)
                raise

    async def attach(self, pack: VoicePack) -> "ThreadHost":
        """Load a voice that is based on this model; see `Host.attach`. If cancelled, none is left."""
        with self._using():
            try:
                attached = await trio.to_thread.run_sync(self.adapter.attach, pack, limiter=self._own)
            except Exception as error:
                raise _fault(pack, error) from error
        return ThreadHost(attached, self._places)

    async def lost(self) -> TtswError:
        """Wait forever: the end of a thread is the end of this process."""
        await trio.sleep_forever()
        raise AssertionError("sleep_forever returned")

    async def close(self) -> None:
        """Unload the model, once its steps, its clean-ups and the loads of voices based on it have ended.

        Utterances end with UNAVAILABLE. Everything together takes at most `CLOSE_S`.

        Raises:
            InternalError: The engine is still busy, or can't be closed, within that time; the model stays in memory.
        """
        self._closed = True
        for scope in self._speaking:
            scope.cancel(reason="the model is unloaded")
        busy = "a step has run"
        with trio.move_on_after(CLOSE_S, shield=True) as scope:
            while self._inside:
                await self._left.park()
            busy = "its own close has run"
            # the only call that may be abandoned: nothing else of the model runs, and it can't be used any more
            await trio.to_thread.run_sync(self.adapter.close, limiter=self._own, abandon_on_cancel=True)
        if scope.cancelled_caught:
            raise InternalError(f"{self._name} can't be unloaded: {busy} for over {CLOSE_S:g} s")

    def _step(self, chunks: Iterator[Samples], use: Callable[[Samples, float], T]) -> tuple[T] | None:
        with self._timed() as started:
            chunk = next(chunks, None)
        return None if chunk is None else (use(chunk, started),)

    def _prepare(self, options: Mapping[str, OptionValue]) -> None:
        with self._timed():
            self.adapter.prepare(options)

    @contextmanager
    def _timed(self) -> Iterator[float]:
        """Count a block as a running step; yield its start time."""
        run = object()
        self._begun[run] = monotonic()
        try:
            if self._closed:
                raise self._unloaded()
            yield self._begun[run]
        finally:
            del self._begun[run]

    def _clean_up(self, chunks: Iterator[Samples]) -> None:
        """Close an utterance's iterator. Counts as a step, even while the model is being closed."""
        run = object()
        self._begun[run] = monotonic()
        try:
            close = getattr(chunks, "close", None)  # generators have it, plain iterators may not
            if close is not None:
                close()
        finally:
            del self._begun[run]

    @contextmanager
    def _using(self) -> Iterator[None]:
        """Keep the adapter open for a block.

        Raises:
            UnavailableError: It is being closed.
        """
        if self._closed:
            raise self._unloaded()
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._left.unpark_all()

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Let `close` interrupt a block that waits.

        Raises:
            UnavailableError: It was interrupted.
        """
        with trio.CancelScope() as scope:
            self._speaking.add(scope)
            try:
                yield
            finally:
                self._speaking.discard(scope)
        if scope.cancelled_caught:
            raise self._unloaded()

    async def _in_thread(self, call: Callable[..., T], *args: object) -> T:
        try:
            return await trio.to_thread.run_sync(call, *args, limiter=self._places)
        except Exception as error:
            raise _fault(self.adapter.pack, error) from error

    def _unloaded(self) -> UnavailableError:
        return UnavailableError(f"model {self._name} was unloaded while it spoke")


async def open_thread_host(
    pack: VoicePack, settings: EngineSettings, find: Callable[[str], type[TTSAdapter]] = adapter_class
) -> ThreadHost:
    """Load a model in a thread of this process.

    Args:
        pack: The model.
        settings: The engine's settings.
        find: Imports a family's adapter.

    Raises:
        OutOfMemoryError: The device ran out of memory.
        TtswError: The model can't be loaded; the message says why.
    """
    try:
        adapter = await run_in(Lane.LOADING, lambda: find(pack.family).load(pack, settings))
    except Exception as error:
        raise _fault(pack, error) from error
    return ThreadHost(adapter)


def _fault(pack: VoicePack, error: Exception) -> TtswError:
    """Return the error for an engine's exception, which is itself if it is a `TtswError`."""
    if isinstance(error, TtswError):
        return error
    if is_out_of_memory(error):
        return OutOfMemoryError(f"the engine of {pack.model_id} found no memory left: {type(error).__name__}: {error}")
    return InternalError(f"the engine of {pack.model_id} failed: {type(error).__name__}: {error}")
