"""Interrupts sessions that speak: `python -m bench.clients.control PORT SESSIONS`, then a line for each measurement.

`STOP N` and `PAUSE N` interrupt N utterances, `cancel N` cancels N calls and speaks again, `burst N` fills the worker N
times.
"""

import random
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import grpc
import trio

from bench.clients.sessions import SERVICE, rounds, tell
from ttsw.errors import TtswError
from ttsw.fronts.abi.client import TTSClient, open_client
from ttsw.fronts.abi.generated.tts import AudioFrame, ControlCommand, StartSessionRequest, TextChunk

TEXT = "x" * 60
LISTENED_S = 0.06
"""How long a paused session is listened to."""

Act = Callable[[TTSClient, "Listener"], Awaitable[int | None]]


class Listener:
    """Reads one utterance."""

    def __init__(self, session_id: str) -> None:
        self.session_id, self.last = session_id, 0
        self.ended = trio.Event()
        self._more = trio.lowlevel.ParkingLot()

    async def run(self, client: TTSClient) -> None:
        """Speak and read to the end."""
        async with client.synthesize() as call:
            await call.send(TextChunk(session_id=self.session_id, text=TEXT, is_final=True))
            await call.end()
            async for frame in call:
                self.last = frame.sequence_number
                self._more.unpark_all()
        self.ended.set()

    async def heard(self, count: int) -> None:
        """Wait for a frame."""
        while self.last < count:
            await self._more.park()


async def stop(client: TTSClient, listener: Listener) -> int | None:
    """Stop; gives how many frames came beyond the one that was named, None where it came too late."""
    answer = await client.control(listener.session_id, ControlCommand.STOP)
    await listener.ended.wait()
    return None if answer.message.startswith("idle") else listener.last - answer.last_sequence_number - 1


async def pause(client: TTSClient, listener: Listener) -> int | None:
    """Pause, listen, and stop."""
    answer = await client.control(listener.session_id, ControlCommand.PAUSE)
    if answer.message.startswith("idle"):
        await client.control(listener.session_id, ControlCommand.RESUME)
        return None
    await listener.heard(answer.last_sequence_number)
    await trio.sleep(LISTENED_S)
    beyond = listener.last - answer.last_sequence_number
    await client.control(listener.session_id, ControlCommand.STOP)
    return beyond


async def interrupt(port: int, sessions: int, act: Act, commands: int) -> dict[str, Any]:
    """Interrupt utterances until enough were interrupted."""
    found: list[int] = []

    async def one(client: TTSClient, session_id: str) -> None:
        await client.start_session(session_id, "mock-440hz")
        while len(found) < commands:
            listener = Listener(session_id)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(listener.run, client)
                await listener.heard(1)
                await trio.sleep(random.uniform(0.0, 0.12))
                if (beyond := await act(client, listener)) is not None:
                    found.append(beyond)
        await client.end_session(session_id)

    async with open_client("127.0.0.1", port) as client, trio.open_nursery() as nursery:
        for number in range(sessions):
            nursery.start_soon(one, client, f"control-{number}")
    return {"commands": len(found), "wrong": sum(map(bool, found)), "worst": max(found, key=abs)}


async def fill(port: int, sessions: int, bursts: int) -> dict[str, Any]:
    """Start as many sessions as there may be, all at once, again and again."""
    refused = 0
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(open_client("127.0.0.1", port)) for _ in range(sessions)]

        async def start(client: TTSClient, session_id: str) -> None:
            nonlocal refused
            try:
                await client.start_session(session_id, "mock-440hz")
            except TtswError:
                refused += 1

        for burst in range(bursts):
            async with trio.open_nursery() as nursery:
                for number, client in enumerate(clients):
                    nursery.start_soon(start, client, f"burst-{burst}-{number}")
            for number, client in enumerate(clients):
                await client.end_session(f"burst-{burst}-{number}")
    return {"refused": refused}


def cancel(port: int, trials: int) -> dict[str, Any]:
    """Cancel a call on gRPC's C core, and at once make the next."""
    refused = 0
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        start = channel.unary_unary(SERVICE + "StartSession", bytes)
        start(StartSessionRequest(session_id="cancel", model_id="mock-440hz"))
        speak = channel.stream_stream(SERVICE + "Synthesize", bytes, AudioFrame.parse)
        for _ in range(trials):
            call = speak(iter([TextChunk(session_id="cancel", text=TEXT, is_final=True)]))
            try:
                next(call)
            except grpc.RpcError:
                refused += 1
            call.cancel()
    return {"refused": refused}


def main() -> None:
    """Do what the parent asks for."""
    port, sessions = int(sys.argv[1]), int(sys.argv[2])
    for order in rounds():
        name, _, value = order.partition(" ")
        count = int(value)
        if name in {"STOP", "PAUSE"}:
            tell(trio.run(interrupt, port, sessions, stop if name == "STOP" else pause, count))
        elif name == "cancel":
            tell(cancel(port, count))
        else:
            tell(trio.run(fill, port, sessions - 1, count))


if __name__ == "__main__":
    main()
