"""Where an engine's code runs: here, in threads of the server's process.

The host decides which step runs next: each step of each utterance asks for one of the model's places, first come first
served. So sessions on one model take turns chunk by chunk, and one that is held up by its listener holds no place.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import TypeVar

import trio

from ttsw.adapters.base import EngineSettings, TTSAdapter
from ttsw.adapters.families import adapter_class
from ttsw.adapters.host.base import describe
from ttsw.adapters.memory import is_out_of_memory
from ttsw.errors import InternalError, OutOfMemoryError, TtswError, UnavailableError
from ttsw.options import OptionValue
from ttsw.types import Samples, VoicePack

T = TypeVar("T")

CLOSE_S = 30.0
"""How long an engine may take to come to the end of what it is doing."""


class ThreadHost:
    """Runs an adapter's steps in worker threads, at most `adapter.concurrency` at a time.

    Args:
        adapter: The loaded model.
        places: The places of the model that it stands on, which it shares; None gives it its own.
    """

    def __init__(self, adapter: TTSAdapter, places: trio.CapacityLimiter | None = None) -> None:
        self.adapter, self.model = adapter, describe(adapter)
        self._begun: dict[object, float] = {}
        self._places = trio.CapacityLimiter(adapter.concurrency) if places is None else places
        self._closed = False
        self._inside, self._left = 0, trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return (
            f"<ThreadHost {self.adapter.pack.model_id}: {self._places.borrowed_tokens} running, {self.waiting} waiting>"
        )

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
        closes the engine's iterator and leaves.

        Args:
            text: What to say.
            options: Parsed options.
            use: Called in the engine's thread with each chunk, and when its step began, by `time.monotonic`.
            take: Awaited with what `use` made of it.

        Raises:
            TtswError: As from `Host.speak`.
        """
        chunks = self.adapter.speak(text, options)
        try:
            while (step := await self._in_thread(self._step, chunks, use)) is not None:
                await take(step[0])
        except BaseException:
            with trio.move_on_after(CLOSE_S, shield=True):
                await trio.to_thread.run_sync(_close, chunks, limiter=self._places)
            raise

    async def derive(self, pack: VoicePack) -> "ThreadHost":
        """Load a voice that stands on this model; see `Host.derive`. Cancelled, it leaves none behind."""
        limiter = trio.CapacityLimiter(1)
        try:
            derived = await trio.to_thread.run_sync(self.adapter.derive, pack, limiter=limiter)
        except Exception as error:
            raise _fault(pack, error) from error
        return ThreadHost(derived, self._places)

    async def lost(self) -> TtswError:
        """Wait for ever: what ends a thread ends this process."""
        await trio.sleep_forever()
        raise AssertionError("for ever has ended")

    async def close(self) -> None:
        """Unload the model: waits for its steps that run, then closes the adapter. Nothing can be spoken from now on.

        Raises:
            InternalError: A step still runs after `CLOSE_S`; the model stays in memory.
        """
        self._closed = True
        with trio.move_on_after(CLOSE_S, shield=True) as scope:
            while self._inside:
                await self._left.park()
            await trio.to_thread.run_sync(self.adapter.close, limiter=trio.CapacityLimiter(1))
        if scope.cancelled_caught:
            self._closed = False
            raise InternalError(
                f"{self.adapter.pack.model_id} can't be unloaded: a step has run for over {CLOSE_S:g} s"
            )

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
                raise UnavailableError(f"model {self.adapter.pack.model_id} was unloaded while it spoke")
            yield self._begun[run]
        finally:
            del self._begun[run]

    async def _in_thread(self, call: Callable[..., T], *args: object) -> T:
        self._inside += 1
        try:
            return await trio.to_thread.run_sync(call, *args, limiter=self._places)
        except Exception as error:
            raise _fault(self.adapter.pack, error) from error
        finally:
            self._inside -= 1
            if not self._inside:
                self._left.unpark_all()


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
    limiter = trio.CapacityLimiter(1)
    try:
        adapter = await trio.to_thread.run_sync(lambda: find(pack.family).load(pack, settings), limiter=limiter)
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


def _close(chunks: Iterator[Samples]) -> None:
    close = getattr(chunks, "close", None)  # a generator has it, a plain iterator need not
    if close is not None:
        close()
