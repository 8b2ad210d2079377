"""The load generator against a server of our own contract, whose lateness and refusals are known."""

import json
import sys

import msgspec
import pytest
import trio
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError

from ttsw.errors import UnavailableError
from ttsw.fronts.abi.generated.tts import (
    AudioFrame,
    ControlRequest,
    ControlResponse,
    EndSessionRequest,
    EndSessionResponse,
    ErrorCode,
    StartSessionRequest,
    StartSessionResponse,
    TextChunk,
    TtsServiceBase,
)
from ttsw.grpc_trio import open_channel, serve
from ttsw.profiler.child_process import open_child
from ttsw.profiler.load_generator import LoadGenerator
from ttsw.profiler.load_messages import LoadOrder, LoadResult, SessionGroup, UtteranceTimes
from ttsw.profiler.load_process import open_load_generator
from ttsw.profiler.texts import SHORT, texts

FRAME = bytes(1920)


class Service(TtsServiceBase):
    """Says `frames` frames for whatever text, in real time but for what a test wants."""

    def __init__(self, *, frames=10, first_s=0.0, stall_s=0.0, every_s=0.02, limit=100, fails=False):
        self.frames, self.first_s, self.stall_s, self.every_s = frames, first_s, stall_s, every_s
        self.limit, self.fails = limit, fails
        self.sessions, self.stopped, self.said, self.most = {}, set(), [], 0

    def __mapping__(self):
        own = {"/tts.TTSService/Synthesize": Handler(self.speak, Cardinality.STREAM_STREAM, TextChunk, AudioFrame)}
        return super().__mapping__() | own

    async def start_session(self, message: StartSessionRequest) -> StartSessionResponse:
        if len(self.sessions) >= self.limit:
            return StartSessionResponse(success=False, message="full", error=ErrorCode.RESOURCE_EXHAUSTED)
        self.sessions[message.session_id] = message.model_id
        self.most = max(self.most, len(self.sessions))
        return StartSessionResponse(success=True)

    async def end_session(self, message: EndSessionRequest) -> EndSessionResponse:
        self.sessions.pop(message.session_id, None)
        return EndSessionResponse(success=True)

    async def control(self, message: ControlRequest) -> ControlResponse:
        self.stopped.add(message.session_id)
        return ControlResponse(success=True)

    async def speak(self, stream):
        chunk = await stream.recv_message()
        self.said.append((self.sessions[chunk.session_id], chunk.text))
        if self.fails:
            raise GRPCError(Status.INTERNAL, "boom")
        await trio.sleep(self.first_s)
        for number in range(self.frames):
            if chunk.session_id in self.stopped:
                self.stopped.discard(chunk.session_id)
                break
            if number == 5:
                await trio.sleep(self.stall_s)
            await stream.send_message(AudioFrame(session_id=chunk.session_id, audio_data=FRAME))
            await trio.sleep(self.every_s)
        await stream.send_message(AudioFrame(session_id=chunk.session_id, is_final=True))


@pytest.fixture
async def listen(nursery):
    async def run(service, order):
        server = await nursery.start(
            lambda task_status: serve([service], host="127.0.0.1", port=0, task_status=task_status)
        )
        async with open_channel("127.0.0.1", server.addresses[0][1]) as channel:
            return await LoadGenerator(channel).listen(order)

    yield run
    nursery.cancel_scope.cancel()


def order(*groups, **more):
    told = {"seconds": 0.6, "settle_s": 0.1, "drain_s": 2.0} | more
    return LoadOrder(groups=groups or (SessionGroup("a", 2),), **told)


async def test_sessions_speak_again_and_again(listen):
    service = Service(first_s=0.05)
    heard = await listen(service, order())
    assert service.most == 2
    assert len(heard.utterances) >= 3
    for each in heard.utterances:
        assert (each.model, each.finished, each.error) == ("a", True, "")
        assert each.audio_s == pytest.approx(0.2)
        assert 0.05 <= each.first_s < each.took_s
        assert 0 <= each.began_s < 0.6
        assert each.characters >= min(map(len, SHORT))
    assert sum(heard.jitter["a"].values()) > 0
    assert (heard.refused, heard.seconds) == ([], 0.6)
    assert not service.sessions


async def test_a_stall_is_a_gap(listen):
    heard = await listen(Service(stall_s=0.3), order(SessionGroup("a", 1)))
    assert max(each.gap_s for each in heard.utterances) >= 0.25


async def test_an_utterance_that_stalls_for_good_is_noticed(listen):
    heard = await listen(Service(stall_s=30.0), order(SessionGroup("a", 1), seconds=0.3, drain_s=0.3, settle_s=0.0))
    (utterance,) = heard.utterances
    assert not utterance.finished
    assert utterance.gap_s >= 0.2
    assert utterance.audio_s == pytest.approx(0.1)


async def test_one_that_never_begins_says_how_long_it_waited(listen):
    heard = await listen(Service(first_s=30.0), order(SessionGroup("a", 1), seconds=0.3, drain_s=0.2, settle_s=0.0))
    (utterance,) = heard.utterances
    assert utterance.first_s is None
    assert utterance.took_s >= 0.4


async def test_audio_that_comes_ahead_of_time(listen):
    heard = await listen(Service(frames=50, every_s=0.0), order(SessionGroup("a", 1), seconds=0.3))
    assert max(each.ahead_s for each in heard.utterances) > 0.5
    heard = await listen(Service(frames=50, every_s=0.0), order(SessionGroup("a", 1), most=2, pacing="fast"))
    assert [each.ahead_s for each in heard.utterances] == [0.0, 0.0]


async def test_refusals_and_errors_are_told(listen):
    heard = await listen(Service(limit=1), order())
    assert "RESOURCE_EXHAUSTED: full" in heard.refused
    assert heard.utterances
    heard = await listen(Service(fails=True), order(SessionGroup("a", 1), most=1))
    assert [each.error for each in heard.utterances] == ["INTERNAL: boom"]
    assert not heard.utterances[0].finished


async def test_a_stop_ends_the_audio(listen):
    heard = await listen(Service(frames=500), order(SessionGroup("a", 1), most=1, stop_every=1, seconds=5.0))
    (utterance,) = heard.utterances
    assert utterance.finished
    assert 0 < utterance.stop_s < 1
    assert 0.4 <= utterance.audio_s < 5


async def test_so_many_and_no_more(listen):
    service = Service(frames=1)
    heard = await listen(service, order(SessionGroup("a", 1), SessionGroup("b", 1), most=3, seconds=10.0))
    assert sorted(model for model, _ in service.said) == ["a"] * 3 + ["b"] * 3
    assert len(heard.utterances) == 6
    assert heard.seconds < 9


async def test_who_comes_by_chance_has_a_session_of_their_own(listen):
    service = Service(frames=2)
    heard = await listen(service, order(SessionGroup("a", 4), arrivals="poisson", mean_s=0.2, seconds=1.0))
    assert len(heard.utterances) >= 4
    assert not service.sessions


async def test_the_same_seed_says_the_same_texts(listen):
    said = []
    for seed in (1, 1, 2):
        service = Service(frames=1)
        await listen(service, order(SessionGroup("a", 1), most=8, seconds=10.0, seed=seed))
        said.append(service.said)
    assert said[0] == said[1] != said[2]


def test_short_and_long_texts_are_mixed():
    mixed = texts("mixed", 1)
    some = [next(mixed) for _ in range(60)]
    assert 30 <= sum(text in SHORT for text in some) <= 50
    assert all(len(next(texts("long", seed))) > 150 for seed in range(9))


async def test_the_process_does_as_it_is_told(nursery):
    service = Service()
    server = await nursery.start(
        lambda task_status: serve([service], host="127.0.0.1", port=0, task_status=task_status)
    )
    async with open_load_generator("127.0.0.1", server.addresses[0][1]) as crowd:
        heard = await crowd.listen(order())
        assert heard.utterances
        assert all(each.finished for each in heard.utterances)
        assert heard.jitter["a"]
        assert (await crowd.listen(order(SessionGroup("b", 1), most=1))).utterances[0].model == "b"
    nursery.cancel_scope.cancel()


async def test_no_server_to_listen_to():
    with pytest.raises(UnavailableError, match="the load generator has ended"):
        async with open_load_generator("127.0.0.1", 1):
            pytest.fail("there is nobody")


CHILD = "import sys, time; print('ready', flush=True); {}"


async def test_a_child_ends_with_its_block():
    async with open_child([sys.executable, "-c", CHILD.format("time.sleep(60)")], "it") as child:
        assert await child.line() == b"ready"
    assert child.process.returncode == -15


async def test_a_child_that_will_not_end_is_killed():
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + CHILD.format("time.sleep(60)")
    async with open_child([sys.executable, "-c", stubborn], "it", patience_s=0.2) as child:
        await child.line()
    assert child.process.returncode == -9


async def test_a_child_ends_when_its_block_is_cancelled():
    with trio.CancelScope() as scope:
        async with open_child([sys.executable, "-c", CHILD.format("time.sleep(60)")], "it") as child:
            await child.line()
            scope.cancel()
            await trio.sleep_forever()
    assert child.process.returncode == -15


async def test_a_child_that_has_ended_says_why():
    dying = "import sys; print('out of luck', file=sys.stderr); sys.exit(3)"
    with pytest.raises(UnavailableError, match=r"it has ended \(exit code 3\): out of luck"):
        async with open_child([sys.executable, "-c", dying], "it") as child:
            await child.line()
    assert list(child.log) == ["out of luck"]


def test_an_order_and_its_answer_survive_json():
    given = order(SessionGroup("a", 3), arrivals="poisson", stop_every=4)
    assert msgspec.json.decode(msgspec.json.encode(given), type=LoadOrder) == given
    heard = LoadResult(
        seconds=1.0, utterances=[UtteranceTimes(model="a", began_s=0.1, characters=4)], jitter={"a": {3: 4}}
    )
    encoded = msgspec.json.encode(heard)
    assert json.loads(encoded)["jitter"] == {"a": {"3": 4}}
    assert msgspec.json.decode(encoded, type=LoadResult) == heard
