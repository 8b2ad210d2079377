"""The load generator, a process of its own: `python -m ttsw.profiler.load_generator HOST PORT`.

Says `{"ready": true}`; then each line on stdin is a `LoadOrder` in JSON, and is answered with a line: its `LoadResult`.
Sessions speak as a person's do: the next text when the last one has been spoken, heard by a player without a buffer of
its own. It ends with stdin. How late it was for its own appointments is told with what it heard, since a gap may be its
own fault.
"""

import random
import sys
from collections.abc import Mapping
from contextlib import suppress
from itertools import count

import msgspec
import trio
from grpclib.exceptions import StreamTerminatedError

from ttsw.concurrency.unwrap import sole_cause
from ttsw.errors import TtswError
from ttsw.fronts.abi.client import PATH, TTSClient, translated
from ttsw.fronts.abi.generated.tts import ControlCommand, TextChunk
from ttsw.fronts.abi.trailers import RTF
from ttsw.grpc_trio import Channel, open_channel
from ttsw.profiler.listener_stats import Player, Recording
from ttsw.profiler.load_messages import LoadOrder, LoadResult, SessionGroup, UtteranceTimes
from ttsw.profiler.texts import texts
from ttsw.system.logs import configure_logging

STOPPED_AFTER_S = 0.4
"""Audio that is heard before a STOP, s."""
REST_S = 0.5
"""How long a session rests after an error, s: a crowd that is refused doesn't storm the door."""


class RawFrame:
    """An AudioFrame that is not decoded: all that counts is whether it carries audio."""

    __slots__ = ("sounds",)

    def __init__(self, data: bytes) -> None:
        self.sounds = len(data) >= 1_920

    def __bytes__(self) -> bytes:
        """Not needed: it is only received."""
        raise NotImplementedError

    @classmethod
    def parse(cls, data: bytes, /) -> "RawFrame":
        """Look at an encoded frame."""
        return cls(data)


class LoadGenerator:
    """Listeners on one connection.

    Args:
        channel: The connection.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel, self._client = channel, TTSClient(channel)
        self._names = (f"crowd-{number}" for number in count(1))

    async def listen(self, order: LoadOrder) -> LoadResult:
        """Carry out an order."""
        take = Recording(order)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take.watch_lag)
            for number, group in enumerate(order.groups):
                nursery.start_soon(self._gather, group, take, random.Random(f"{order.seed} {number}"))
            await trio.sleep_until(take.begins)
            with trio.move_on_at(take.ends):
                await take.done.wait()
            if order.most is None:
                await trio.sleep_until(take.ends)
            with trio.move_on_after(order.drain_s):
                await take.drain()
            nursery.cancel_scope.cancel(reason="it is heard")
        return take.heard()

    async def _gather(self, group: SessionGroup, take: Recording, dice: random.Random) -> None:
        if take.order.arrivals == "poisson":
            await self._come_by_chance(group, take, dice)
            return
        async with trio.open_nursery() as nursery:
            for number in range(group.sessions):
                late_s = take.order.settle_s * number / group.sessions
                nursery.start_soon(self._talk, group.model, take, late_s, dice.randrange(1 << 30))
        take.group_is_done()

    async def _come_by_chance(self, group: SessionGroup, take: Recording, dice: random.Random) -> None:
        spoken = texts(take.order.texts, dice.randrange(1 << 30))
        rate = group.sessions / take.order.mean_s
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep(dice.expovariate(rate))
                nursery.start_soon(self._visit, group.model, take, next(spoken))

    async def _visit(self, model: str, take: Recording, text: str) -> None:
        """One session that says one thing."""
        name = await self._open(model, take)
        if name is not None:
            await self._speak(name, take, take.begin(model, text), text, stopped=False)
            with suppress(TtswError):
                await self._client.end_session(name)

    async def _talk(self, model: str, take: Recording, late_s: float, seed: int) -> None:
        """One session that speaks again and again."""
        name = await self._open(model, take)
        await trio.sleep(late_s)
        while name is None:
            await trio.sleep(REST_S)
            name = await self._open(model, take)
        spoken = texts(take.order.texts, seed)
        try:
            for number in count(1) if take.order.most is None else range(1, take.order.most + 1):
                text, every = next(spoken), take.order.stop_every
                stopped = every > 0 and (number + seed) % every == 0
                utterance = take.begin(model, text)
                await self._speak(name, take, utterance, text, stopped=stopped)
                if utterance.error:
                    await trio.sleep(REST_S)
        finally:
            with trio.move_on_after(5, shield=True), suppress(TtswError):
                await self._client.end_session(name)

    async def _open(self, model: str, take: Recording) -> str | None:
        name = f"{next(self._names)}-{take.order.seed}"
        try:
            await self._client.start_session(name, model, {"pacing": take.order.pacing})
        except TtswError as error:
            take.refused.append(_told(error))
            return None
        return name

    async def _speak(self, name: str, take: Recording, utterance: UtteranceTimes, text: str, *, stopped: bool) -> None:
        player = Player(utterance, take)
        try:
            async with (
                trio.open_nursery() as nursery,
                translated(),
                self._channel.stream(PATH + "Synthesize", TextChunk, RawFrame) as call,
            ):
                player.asked = trio.current_time()
                with suppress(StreamTerminatedError):  # the server has ended the call: what comes says how
                    await call.send(TextChunk(session_id=name, text=text, is_final=True))
                    await call.end()
                while (frame := await call.receive()) is not None:
                    if frame.sounds:
                        player.hear(trio.current_time())
                        if stopped and player.stopped_at is None and utterance.audio_s >= STOPPED_AFTER_S:
                            player.stopped_at = trio.current_time()
                            nursery.start_soon(self._client.control, name, ControlCommand.STOP)
            utterance.finished = True
            utterance.rtf = _rtf(call.trailing_metadata)
        except (TtswError, BaseExceptionGroup) as error:
            fault = sole_cause(error)
            if not isinstance(fault, TtswError):
                raise
            utterance.error = _told(fault)
        finally:
            player.leave(trio.current_time())
            take.ended(utterance)


def _rtf(trailers: Mapping[str, str | bytes] | None) -> float | None:
    """Read the RTF that the server measured; None if the utterance had no audio."""
    text = (trailers or {}).get(RTF)
    return None if text is None else float(text)


def _told(error: BaseException) -> str:
    name = error.code.name if isinstance(error, TtswError) else type(error).__name__
    return f"{name}: {error}"


async def serve_orders(host: str, port: int) -> None:
    """Carry out orders until stdin ends."""
    async with open_channel(host, port) as channel:
        crowd = LoadGenerator(channel)
        _tell(b'{"ready": true}')
        while line := await trio.to_thread.run_sync(sys.stdin.buffer.readline, abandon_on_cancel=True):
            heard = await crowd.listen(msgspec.json.decode(line, type=LoadOrder))
            _tell(msgspec.json.encode(heard))


def _tell(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    """Connect, and do as one is told."""
    configure_logging("ERROR")
    with suppress(KeyboardInterrupt):
        trio.run(serve_orders, sys.argv[1], int(sys.argv[2]))


if __name__ == "__main__":
    main()
