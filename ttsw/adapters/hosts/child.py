"""The engine process: one model in threads, controlled through a socket. Started by `ttsw.adapters.hosts.process`.

It runs under its family's own interpreter, so it imports only trio, msgspec, numpy, and the parts of ttsw that need no
more than these.
"""

import os
import socket
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import trio

from ttsw.adapters.base import TTSAdapter
from ttsw.adapters.hosts.protocol import (
    WINDOW,
    Answer,
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
    Speak,
    SpeakDone,
    frame,
    read_order,
    to_failed,
)
from ttsw.adapters.hosts.send_queue import SendQueue
from ttsw.adapters.hosts.thread import ThreadHost, open_thread_host
from ttsw.errors import InternalError, TtswError, UnavailableError
from ttsw.system.lifeline import die_with
from ttsw.types import Samples

READ = 65_536
SWITCH_S = 0.0005
"""Longest time that an engine's Python thread may delay the event loop, seconds."""


class EngineServer:
    """Serves one model.

    Args:
        sock: The socket for orders and answers.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        self._outbox = SendQueue(sock)
        self._frames = Frames()
        self._jobs: dict[int, tuple[trio.CancelScope, trio.Semaphore]] = {}
        self._voices: dict[int, ThreadHost] = {}
        """The voices by number: 0 is the model, the others are attached to it."""

    async def run(self) -> None:
        """Serve until told to close, or until the worker is gone."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._outbox.run)
            while True:
                data = await self._stream.receive_some(READ)
                if not data:
                    break
                for head, _ in self._frames.feed(data):
                    if isinstance(order := read_order(head), Close):
                        nursery.cancel_scope.cancel()
                        break
                    self._obey(order, nursery)
            nursery.cancel_scope.cancel()
        for voice in reversed(self._voices.values()):
            await voice.close()

    def _obey(self, order: Order, nursery: trio.Nursery) -> None:
        match order:
            case Ping():
                self._say(Pong(memory(), max((voice.step_s for voice in self._voices.values()), default=0.0)))
            case Load():
                nursery.start_soon(self._load, order)
            case Speak() | Prepare() | Attach() | Detach():
                job = self._jobs[order.id] = trio.CancelScope(), trio.Semaphore(WINDOW - 1)
                nursery.start_soon(self._do, order, *job)
            case ChunkTaken(id) if id in self._jobs:
                self._jobs[id][1].release()
            case Cancel(id) if id in self._jobs:
                self._jobs[id][0].cancel()

    def _say(self, answer: Answer, body: bytes = b"") -> None:
        self._outbox.put(frame(answer, body))

    async def _load(self, order: Load) -> None:
        try:
            voice = await open_thread_host(order.pack, order.settings, lambda _: find_adapter(order.adapter))
        except TtswError as error:
            self._say(to_failed(0, error))
        else:
            self._voices[0] = voice
            self._say(Loaded(voice.model))

    async def _do(
        self, order: Speak | Prepare | Attach | Detach, scope: trio.CancelScope, credit: trio.Semaphore
    ) -> None:
        def send(samples: Samples, began: float) -> None:  # from the engine's thread, without waking the event loop
            self._say(Chunk(order.id, monotonic() - began), to_bytes(samples))

        async def take(_: None) -> None:
            await credit.acquire()

        answer: Answer = SpeakDone(order.id)
        with scope:
            try:
                match order:
                    case Speak():
                        await self._voice(order.voice).run(order.text, order.options, send, take)
                    case Prepare():
                        await self._voice(order.voice).prepare(order.options)
                    case Attach():
                        answer = await self._derive(order)
                    case Detach() if order.voice in self._voices:
                        await self._voices.pop(order.voice).close()
            except TtswError as error:
                answer = to_failed(order.id, error)
        del self._jobs[order.id]
        self._say(answer)

    async def _derive(self, order: Attach) -> Attached:
        attached = await self._voice(0).attach(order.pack)
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
        except trio.Cancelled:
            await attached.close()  # noqa: ASYNC102 - it shields itself, with a deadline
            raise
        self._voices[order.id] = attached
        return Attached(order.id, attached.model)

    def _voice(self, number: int) -> ThreadHost:
        if number not in self._voices:
            raise InternalError("no such voice: it was never loaded, or was unloaded")
        return self._voices[number]


async def serve(sock: socket.socket) -> None:
    """Serve the worker at the other end of a socket."""
    await EngineServer(sock).run()


def find_adapter(named: str) -> type[TTSAdapter]:
    """Import an adapter by `module:Class`.

    Raises:
        UnavailableError: It can't be imported here.
    """
    module, _, name = named.partition(":")
    try:
        found: type[TTSAdapter] = getattr(import_module(module), name)
    except ImportError as error:
        raise UnavailableError(f"{named} cannot be used under {sys.executable}: {error}") from error
    return found


def to_bytes(samples: Samples) -> bytes:
    """Return a chunk's samples in the protocol's format."""
    return np.ascontiguousarray(samples, np.float32).tobytes()


def memory() -> MemoryReport:
    """Return this process's memory usage."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1]) if sys.platform == "linux" else 0
    resident = pages * os.sysconf("SC_PAGE_SIZE")
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return MemoryReport(resident)
    return MemoryReport(resident, int(torch.cuda.memory_allocated()), int(torch.cuda.memory_reserved()))


def main(arguments: Mapping[str, int]) -> None:
    """Serve the socket `socket` for as long as the pipe `lifeline` is open."""
    die_with(arguments["lifeline"])
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print goes to the log
    sys.setswitchinterval(SWITCH_S)
    trio.run(serve, socket.socket(fileno=arguments["socket"]))
    sys.stderr.flush()
    os._exit(0)  # finalising libraries takes time, and may hang


if __name__ == "__main__":
    main({"socket": int(sys.argv[1]), "lifeline": int(sys.argv[2])})
