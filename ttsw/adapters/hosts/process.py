"""Host that runs an engine in a process of its own, under an interpreter of its own.

The engine doesn't load the worker's event loop, all its memory is freed when the process ends, and a crash affects only
what it was speaking.
"""

import math
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

import numpy as np
import structlog
import trio

from ttsw.adapters.base import EngineSettings
from ttsw.adapters.hosts.attached import AttachedHost
from ttsw.adapters.hosts.base import ModelDescription
from ttsw.adapters.hosts.launch import DIE_S, LEAVE_S, EngineProcess, Launch, ending, start
from ttsw.adapters.hosts.protocol import (
    Attach,
    Attached,
    Cancel,
    Chunk,
    ChunkTaken,
    Close,
    Detach,
    Frames,
    Load,
    Loaded,
    MemoryReport,
    Order,
    Ping,
    Pong,
    Prepare,
    RequestFailed,
    Speak,
    SpeakDone,
    frame,
    from_failed,
    read_answer,
)
from ttsw.adapters.hosts.send_queue import SendQueue
from ttsw.adapters.memory import is_out_of_memory
from ttsw.errors import InternalError, OutOfMemoryError, TtswError, UnavailableError
from ttsw.options import OptionValue
from ttsw.types import Samples, VoicePack

T = TypeVar("T")

log = structlog.get_logger(__name__)

READ = 65_536
PING_S = 1.0
"""Interval between pings, seconds."""
TAIL = 20
"""Number of the engine's last stderr lines that are kept."""
LONGEST_LINE = 500


@dataclass(frozen=True, slots=True)
class Audio:
    """A received chunk, and the duration of the engine's step, seconds."""

    samples: Samples
    seconds: float


Reply = Audio | SpeakDone | Attached | TtswError


class ProcessHost:
    """Runs one model in a process of its own; from `EngineProcesses.open`.

    Args:
        pack: The model.
        settings: The engine's settings.
        launch: How to start the process.
    """

    model: ModelDescription

    def __init__(self, pack: VoicePack, settings: EngineSettings, launch: Launch) -> None:
        self._pack, self._settings, self._launch = pack, settings, launch
        self.memory = MemoryReport(0)
        """The process's memory, as last reported."""
        self.pid = 0
        self._ids = count(1)
        self._replies: dict[int, trio.MemorySendChannel[Reply]] = {}
        self._busy: set[int] = set()
        self._taking = 0
        self._outbox: SendQueue | None = None
        self._converters = trio.CapacityLimiter(1)
        self._scope = trio.CancelScope()
        self._loaded, self._over, self._ended = trio.Event(), trio.Event(), trio.Event()
        self._error: TtswError | None = None
        self._closing = False
        self._answered = True
        self._step_s = 0.0
        self._tail: deque[str] = deque(maxlen=TAIL)

    def __repr__(self) -> str:
        state = "ended" if self._ended.is_set() else "running" if self._loaded.is_set() else "loading"
        return f"<ProcessHost {self._pack.model_id}: {state}, pid {self.pid}, {len(self._replies)} utterances>"

    # Operations.

    @property
    def waiting(self) -> int:
        """Estimated number of steps that wait for a slot."""
        return max(0, len(self._replies) - self._taking - self.model.concurrency)

    @property
    def about(self) -> Mapping[str, str]:
        """See `Host.about`; includes the process's memory."""
        memory = {"resident": self.memory.resident, "gpu_allocated": self.memory.allocated}
        shown = {f"{name}_mb": f"{size / 1e6:.0f}" for name, size in memory.items() if size}
        return {"host": "process", "pid": str(self.pid)} | shown

    @property
    def busy(self) -> int:
        """Number of utterances that the engine still works on; it leaves a cancelled one at its next step."""
        return len(self._busy)

    async def prepare(self, options: Mapping[str, OptionValue], voice: int = 0) -> None:
        """See `Host.prepare`; for an attached voice, or for the model's own (0)."""
        async with self._ask(lambda number: Prepare(number, options, voice)) as job:
            await job.reply()

    async def speak(
        self,
        text: str,
        options: Mapping[str, OptionValue],
        convert: Callable[[Samples], T],
        take: Callable[[T, float], Awaitable[None]],
        voice: int = 0,
    ) -> None:
        """See `Host.speak`; with an attached voice, or the model's own (0). It runs ahead by `WINDOW` chunks.

        A cancellation returns at once; the engine leaves the utterance at its next step.
        """
        async with self._ask(lambda number: Speak(number, text, options, voice)) as job:
            while isinstance(reply := await job.reply(), Audio):
                value = await self._convert(convert, reply.samples)
                self._taking += 1
                try:
                    await take(value, reply.seconds)
                finally:
                    self._taking -= 1
                self._say(ChunkTaken(job.number))

    async def attach(self, pack: VoicePack) -> AttachedHost:
        """Load a voice that is based on this model; see `Host.attach`. If cancelled, none is left."""
        number = 0

        def order(given: int) -> Order:
            nonlocal number
            number = given
            return Attach(number, pack)

        try:
            async with self._ask(order) as job:
                reply = await job.reply()
        except BaseException:
            self._say(Detach(next(self._ids), number))  # it may have been loaded at the last moment
            raise
        assert isinstance(reply, Attached), "what was asked for is answered"
        return AttachedHost(self, number, reply.model)

    async def drop(self, voice: int) -> None:
        """Unload an attached voice.

        Raises:
            TtswError: It can't be unloaded, or the process has ended, and the voice with it.
        """
        async with self._ask(lambda number: Detach(number, voice)) as job:
            await job.reply()

    async def lost(self) -> TtswError:
        """Wait until the process has ended without having been closed, and return the reason."""
        await self._ended.wait()
        if self._error is None:
            await trio.sleep_forever()
        assert self._error is not None, "for ever has ended"
        return self._error

    async def close(self) -> None:
        """End the process, and return when it has ended and its memory is free.

        Raises:
            InternalError: The system can't end it.
        """
        self._closing = True
        with trio.CancelScope(shield=True):
            with trio.move_on_after(LEAVE_S):
                self._say(Close())
                await self._ended.wait()
            self._scope.cancel(reason="the engine took too long to end")
            with trio.move_on_after(DIE_S + LEAVE_S):
                await self._ended.wait()
        if not self._ended.is_set():
            raise InternalError(f"the engine of {self._pack.model_id} (process {self.pid}) can't be killed")

    @asynccontextmanager
    async def _ask(self, order: Callable[[int], Order]) -> AsyncGenerator["_Job", None]:
        """Send an order for a block; leaving the block before its completion cancels it."""
        if self._closing or self._over.is_set():
            raise self._error or self._unloaded()
        number = next(self._ids)
        self._replies[number], replies = trio.open_memory_channel[Reply](math.inf)  # WINDOW bounds it
        self._busy.add(number)
        self._say(order(number))
        try:
            yield _Job(number, replies)
        finally:
            del self._replies[number]
            if number in self._busy:
                self._say(Cancel(number))

    async def _convert(self, convert: Callable[[Samples], T], samples: Samples) -> T:
        try:
            return await trio.to_thread.run_sync(convert, samples, limiter=self._converters)
        except Exception as error:
            name = self._pack.model_id
            if is_out_of_memory(error):
                raise OutOfMemoryError(f"no memory is left for the audio of {name}: {error}") from error
            raise InternalError(f"the audio of {name} can't be used: {type(error).__name__}: {error}") from error

    # The process.

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the process from start to end; `started` is called when the model is loaded.

        Raises:
            OutOfMemoryError: The device ran out of memory.
            TtswError: The model can't be loaded.
        """
        child, cancelled = await start(self._launch), True
        self.pid = child.process.pid
        try:
            with self._scope:
                await self._attend(child, task_status)
            cancelled = False
        except Exception as error:
            cancelled = False
            log.exception("failed to supervise the engine process", model_id=self._pack.model_id)
            self._end(InternalError(f"the worker lost its engine of {self._pack.model_id}: {error}"))
        finally:
            self._closing = self._closing or cancelled  # the owner has finished with it
            with trio.CancelScope(shield=True):
                await child.bury()
                await child.close()
            self._settle(child.process.returncode)
        if not self._loaded.is_set() and self._error is not None:
            raise self._error

    async def _attend(self, child: EngineProcess, task_status: trio.TaskStatus[None]) -> None:
        self._outbox = SendQueue(child.sock)
        async with trio.open_nursery() as nursery:
            logged = trio.Event()
            nursery.start_soon(self._read, trio.SocketStream(trio.socket.from_stdlib_socket(child.sock)))
            nursery.start_soon(self._outbox.run)
            nursery.start_soon(self._listen, child.stderr, logged)
            nursery.start_soon(self._watch, task_status)
            self._say(Load(self._launch.adapter, self._pack, self._settings))
            await self._over.wait()
            await child.bury(LEAVE_S if self._error is None else 0.0)
            with trio.move_on_after(PING_S):
                await logged.wait()
            nursery.cancel_scope.cancel(reason="the process has ended")

    def _say(self, order: Order) -> None:
        if self._outbox is not None:
            self._outbox.put(frame(order))

    async def _read(self, stream: trio.SocketStream) -> None:
        frames = Frames()
        with suppress(trio.BrokenResourceError):
            while data := await stream.receive_some(READ):
                try:
                    for head, body in frames.feed(data):
                        self._hear(head, body)
                except InternalError as error:
                    self._end(InternalError(f"the engine of {self._pack.model_id} sent an invalid message: {error}"))
        self._over.set()

    def _hear(self, head: bytes, body: bytes) -> None:
        match read_answer(head):
            case Chunk(number, seconds):
                self._answer(number, Audio(np.frombuffer(body, np.float32).copy(), seconds))
            case (SpeakDone(number) | Attached(number)) as done:
                self._busy.discard(number)
                self._answer(number, done)
            case RequestFailed(0) as failed:
                self._end(from_failed(failed))
            case RequestFailed(number) as failed:
                self._busy.discard(number)
                self._answer(number, from_failed(failed))
            case Loaded(model):
                self.model = model
                self._converters.total_tokens = model.concurrency
                self._loaded.set()
            case Pong(memory, step_s):
                self._answered, self.memory, self._step_s = True, memory, step_s

    def _answer(self, number: int, reply: Reply) -> None:
        if number in self._replies:  # otherwise the order was cancelled
            self._replies[number].send_nowait(reply)

    async def _listen(self, stderr: trio.abc.ReceiveStream, logged: trio.Event) -> None:
        """Keep the last lines of the engine process's output."""
        rest = b""
        async for data in stderr:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._note(line)
            rest = rest[-LONGEST_LINE:]
        self._note(rest)
        logged.set()

    def _note(self, line: bytes) -> None:
        text = line[:LONGEST_LINE].decode("utf-8", "replace").rstrip()
        if text:
            self._tail.append(text)
            log.debug("engine", model_id=self._pack.model_id, pid=self.pid, line=text)

    async def _watch(self, task_status: trio.TaskStatus[None]) -> None:
        """Enforce the load timeout, then the response and step timeouts."""
        launch = self._launch
        with trio.move_on_after(launch.load_s):
            await self._loaded.wait()
        if not self._loaded.is_set():
            self._end(self._unavailable(f"has not loaded in {launch.load_s:g} s"))
            return
        task_status.started()
        unanswered_s = 0.0
        while True:
            self._answered = False
            self._say(Ping())
            await trio.sleep(PING_S)
            # counted in pings rather than by the clock: this process may itself have been stopped
            unanswered_s = 0.0 if self._answered else unanswered_s + PING_S
            if unanswered_s >= launch.answer_s:
                self._end(self._unavailable(f"has not answered for {unanswered_s:g} s, and was killed"))
            elif self._step_s > launch.step_s:
                self._end(self._unavailable(f"has been at one step for {self._step_s:.0f} s, and was killed"))

    def _unavailable(self, what: str) -> UnavailableError:
        return UnavailableError(f"the engine of {self._pack.model_id} {what}")

    def _unloaded(self) -> UnavailableError:
        return UnavailableError(f"model {self._pack.model_id} was unloaded while it spoke")

    def _end(self, error: TtswError) -> None:
        """End the process; the first reason counts."""
        self._error = self._error or error
        self._over.set()

    def _settle(self, returncode: int | None) -> None:
        """Notify all waiting tasks that the process is gone."""
        self._error = None if self._closing else self._error or self._unavailable(ending(returncode, self._tail))
        if self._error is not None and self._loaded.is_set():
            log.error(
                "engine lost",
                model_id=self._pack.model_id,
                pid=self.pid,
                utterances=len(self._replies),
                error=str(self._error),
                stderr=list(self._tail),
            )
        self._over.set()
        for number in self._replies:
            self._answer(number, self._error or self._unloaded())
        self._ended.set()


@dataclass(frozen=True, slots=True)
class _Job:
    """An order, and its replies."""

    number: int
    replies: trio.MemoryReceiveChannel[Reply]

    async def reply(self) -> Audio | SpeakDone | Attached:
        reply = await self.replies.receive()
        if isinstance(reply, TtswError):
            raise type(reply)(str(reply))  # one instance per raise, since raising adds a traceback
        return reply
