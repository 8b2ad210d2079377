"""What must hold for each session while 48 of them are busy, over a real socket."""

import random

import grpc
import pytest
import trio

from tests.integration.support import PAUSE, RESUME, STOP, check_frames, eventually, numbers, text_chunks
from ttsw.errors import TtswError
from ttsw.fronts.abi.client import open_client
from ttsw.fronts.abi.generated.tts import TextChunk

pytestmark = pytest.mark.alone

SESSIONS = 48
ROUNDS = 8
WORDS = "One sentence of speech, and another one behind it."
MOCK = "mock-440hz"


@pytest.fixture(scope="module")
def busy(start_worker):
    """A worker that takes just so many sessions."""
    return start_worker(worker__capabilities__max_concurrent_sessions=SESSIONS)


class Speech:
    """One utterance, read as it comes."""

    def __init__(self, client, session_id):
        self.client, self.session_id, self.frames = client, session_id, []
        self._more = trio.lowlevel.ParkingLot()

    async def run(self):
        async with self.client.synthesize() as call:
            await call.send(TextChunk(session_id=self.session_id, text=WORDS, is_final=True))
            await call.end()
            async for frame in call:
                self.frames.append(frame)
                self._more.unpark_all()

    async def heard(self, count):
        """Wait until this many frames have come."""
        while len(self.frames) < count:
            await self._more.park()


async def crowd(worker, act):
    """Have each of the sessions speak again and again, and `act` on each utterance meanwhile."""
    async with open_client("127.0.0.1", worker.port) as client, trio.open_nursery() as nursery:

        async def one(number: int) -> None:
            session_id = f"crowd-{number}"
            await client.start_session(session_id, MOCK)
            for _ in range(ROUNDS):
                speech = Speech(client, session_id)
                async with trio.open_nursery() as utterance:
                    utterance.start_soon(speech.run)
                    await speech.heard(1)
                    await trio.sleep(random.uniform(0.0, 0.12))
                    await act(client, speech)
                check_frames(speech.frames, session_id)
            await client.end_session(session_id)

        for number in range(SESSIONS):
            nursery.start_soon(one, number)


async def test_stop_names_the_last_frame_that_comes(busy):
    told = []

    async def stop(client, speech):
        answer = await client.control(speech.session_id, STOP)
        told.append((answer.last_sequence_number, speech))

    await crowd(busy, stop)
    assert len(told) == SESSIONS * ROUNDS
    wrong = [(last, numbers(speech.frames)[-1]) for last, speech in told if numbers(speech.frames)[-1] != last + 1]
    assert wrong == [], "the end marker follows the frame that the answer names"


async def test_after_pause_no_frame_comes_beyond_the_one_that_it_names(busy):
    told = []

    async def pause_and_resume(client, speech):
        answer = await client.control(speech.session_id, PAUSE)
        await speech.heard(answer.last_sequence_number)
        await trio.sleep(0.1)
        told.append((answer.last_sequence_number, len(speech.frames)))
        await client.control(speech.session_id, RESUME)
        await client.control(speech.session_id, STOP)

    await crowd(busy, pause_and_resume)
    assert [pair for pair in told if pair[1] != pair[0]] == []


async def test_bursts_of_exactly_the_limit_are_admitted(busy):
    refused = []
    async with open_client("127.0.0.1", busy.port) as client:
        for burst in range(20):

            async def start(number: int, burst=burst) -> None:
                try:
                    await client.start_session(f"burst-{burst}-{number}", MOCK)
                except TtswError as error:
                    refused.append(error)

            async with trio.open_nursery() as nursery:
                for number in range(SESSIONS):
                    nursery.start_soon(start, number)
            with pytest.raises(TtswError, match="sessions of mock-440hz are taken"):
                await client.start_session("one too many", MOCK)
            for number in range(SESSIONS):
                await client.end_session(f"burst-{burst}-{number}")
    assert refused == []


def test_who_cancels_may_speak_again_at_once(busy, connect):
    client = connect(busy)
    session_id = client.start(model_id=MOCK)
    for _ in range(80):
        call = client.open(session_id, WORDS)
        next(call)
        call.cancel()
        call = client.stream(text_chunks(session_id, WORDS))
        try:
            next(call)
        except grpc.RpcError as error:  # pragma: no cover - the fault
            pytest.fail(f"refused: {error.details()}")
        call.cancel()
    client.control(session_id, STOP)
    check_frames(client.speak(session_id, "At last."))
    client.end(session_id)


def test_a_client_that_vanishes_gives_its_places_back_after_the_grace(start_worker, connect):
    worker = start_worker(worker__capabilities__max_concurrent_sessions=2, worker__session_orphan_timeout_s=0.5)
    vanishing, staying = connect(worker), connect(worker)
    for _ in range(2):
        vanishing.start(model_id=MOCK)
    answer = staying.try_start("late", MOCK)
    assert not answer.success
    assert "try again in about" in answer.message
    vanishing.close()
    eventually(lambda: staying.try_start("late", MOCK).success)
    assert staying.capabilities().metrics["active_sessions"] <= 2
    check_frames(staying.speak("late", "Here I am."))
    assert staying.end("late").success
