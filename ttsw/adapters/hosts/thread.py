"""Where an engine's code runs: here, in threads of the server's process.

The host decides which step runs next: each step of each utterance asks for one of the model's places, first come first
served. So sessions on one model take turns chunk by chunk, and one that is held up by its listener holds no place.

It also decides when the adapter may be closed: when nothing of the adapter runs any more, the clean-up of an
utterance's iterator included.
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

log = logging.getLogger(__name__)  # an engine's interpreter may have nothing else

T = TypeVar("T")

CLOSE_S = 30.0
"""How long an engine may take to come to the end of what it is doing, and then how long to unload, s together."""


class ThreadHost:
    """Runs an adapter's steps in worker threads, at most `adapter.concurrency` at a time.

    Args:
        adapter: The loaded model.
        places: The places of the model that it is based on, which it shares; None gives it its own.
    """

    def __init__(self, adapter: TTSAdapter, places: trio.CapacityLimiter | None = None) -> None:
        self.adapter, self.model = adapter, describe(adapter)
        self._name = adapter.pack.model_id
        self._begun: dict[object, float] = {}
        self._places = trio.CapacityLimiter(adapter.concurrency) if places is None else places
        self._own = trio.CapacityLimiter(1)  # for what takes no place: a voice that is loaded, the end
        self._closed = False
        self._inside, self._left = 0, trio.lowlevel.ParkingLot()
        self._speaking: set[trio.CancelScope] = set()

    def __repr__(self) -> str:
        return f"<ThreadHost {self._name}: {self._places.borrowed_tokens} running, {self.waiting} waiting>"

    @property
    def waiting(self) -> int:
        """Steps that wait for a place."""
        return self._places.statistics().tasks_waiting

    @property
    def about(self) -> Mapping[str, str]:
        """See `Host.about`."""
        return {"host": "thread"}

    @property
    def step_s(self) -> float:
        """How long the longest of the running steps has run, s."""
        return monotonic() - min([monotonic(), *self._begun.copy().values()])

    async def prepare(self, options: Mapping[str, OptionValue]) -> None:
        """Get ready to speak with these options; see `TTSAdapter.prepare`."""
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
        """Speak one segment, step by step. While `take` waits, no place is held, and the engine stands still.

        Cancelled, it lets a step that runs come to its end (memory of the model is never in use behind our back),
        closes the engine's iterator and leaves. `close` ends it likewise, wherever it waits.

        Args:
            text: What to say.
            options: Parsed options.
            use: Called in the engine's thread with each chunk, and when its step began, by `time.monotonic`.
            take: Awaited with what `use` made of it.

        Raises:
            TtswError: As from `Host.speak`.
        """
        with self._using(), self._interruptible():
            chunks = self.adapter.speak(text, options)
            try:
                while (step := await self._in_thread(self._step, chunks, use)) is not None:
                    await take(step[0])
            except BaseException:
                with trio.move_on_after(CLOSE_S, shield=True) as scope:  # for a place; its thread is not left alone
                    await trio.to_thread.run_sync(self._clean_up, chunks, limiter=self._places)
                if scope.cancelled_caught:
                    log.warning("an utterance of %s was left open: no place in %g s", self._name, CLOSE_S)
                raise

    async def attach(self, pack: VoicePack) -> "ThreadHost":
        """Load a voice that is based on this model; see `Host.attach`. Cancelled, it leaves none behind."""
        with self._using():
            try:
                attached = await trio.to_thread.run_sync(self.adapter.attach, pack, limiter=self._own)
            except Exception as error:
                raise _fault(pack, error) from error
        return ThreadHost(attached, self._places)

    async def lost(self) -> TtswError:
        """Wait for ever: what ends a thread ends this process."""
        await trio.sleep_forever()
        raise AssertionError("for ever has ended")

    async def close(self) -> None:
        """Unload the model, once its steps, its clean-ups and the loads of voices based on it have ended.

        Utterances end with UNAVAILABLE. All of it together takes `CLOSE_S` at most.

        Raises:
            InternalError: The engine still works, or can't be closed, in that time; the model stays in memory.
        """
        self._closed = True
        for scope in self._speaking:
            scope.cancel(reason="the model is unloaded")
        busy = "a step has run"
        with trio.move_on_after(CLOSE_S, shield=True) as scope:
            while self._inside:
                await self._left.park()
            busy = "its own close has run"
            # the one call that is left behind: nothing else runs of the model, and nobody can use it any more
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
        """Let `step_s` know of what runs; gives when it began."""
        run = object()
        self._begun[run] = monotonic()
        try:
            if self._closed:
                raise self._unloaded()
            yield self._begun[run]
        finally:
            del self._begun[run]

    def _clean_up(self, chunks: Iterator[Samples]) -> None:
        """Close an utterance's iterator. `step_s` counts it, though the model may be about to go."""
        run = object()
        self._begun[run] = monotonic()
        try:
            close = getattr(chunks, "close", None)  # a generator has it, a plain iterator need not
            if close is not None:
                close()
        finally:
            del self._begun[run]

    @contextmanager
    def _using(self) -> Iterator[None]:
        """Keep the adapter from being closed for a block.

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
        """Let `close` end what waits in a block.

        Raises:
            UnavailableError: It has.
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
        settings: What the worker says to the engine.
        find: Imports a family's adapter.

    Raises:
        OutOfMemoryError: There was no memory left for it.
        TtswError: It can't be loaded; the text says why.
    """
    try:
        adapter = await run_in(Lane.LOADING, lambda: find(pack.family).load(pack, settings))
    except Exception as error:
        raise _fault(pack, error) from error
    return ThreadHost(adapter)


def _fault(pack: VoicePack, error: Exception) -> TtswError:
    """What to tell of an engine's error: its own words where it is one of ours."""
    if isinstance(error, TtswError):
        return error
    if is_out_of_memory(error):
        return OutOfMemoryError(f"the engine of {pack.model_id} found no memory left: {type(error).__name__}: {error}")
    return InternalError(f"the engine of {pack.model_id} failed: {type(error).__name__}: {error}")
