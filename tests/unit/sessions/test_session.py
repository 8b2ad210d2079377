import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from ttsw.errors import FailedPreconditionError, UnavailableError
from ttsw.sessions.frame_timer import FrameTimer
from ttsw.sessions.options import SessionOptions
from ttsw.sessions.session import OVERLAP_S, Session
from ttsw.sessions.state import IllegalMoveError, SessionState
from ttsw.sessions.utterance import EndCause
from ttsw.sessions.voice import LoudnessTarget, Voice
from ttsw.testing import FakeHost

SECOND = "a" * 100


class Source:
    """Gives a voice, and remembers whether a fresh one was wanted."""

    def __init__(self) -> None:
        self.fresh = []

    async def __call__(self, *, fresh: bool) -> Voice:
        await trio.lowlevel.checkpoint()
        self.fresh.append(fresh)
        return Voice(FakeHost(step_s=0.01), LoudnessTarget(None))


@pytest.fixture
def source():
    return Source()


@pytest.fixture
async def metronome(nursery):
    metronome = FrameTimer()
    nursery.start_soon(metronome.run)
    return metronome


@pytest.fixture
async def session(nursery, source, metronome):
    session = Session("s", "fake-voice", SessionOptions(), source, metronome, idle_timeout_s=60)
    await nursery.start(session.run)
    return session


async def speak(session: Session, text: str = SECOND, frames: list | None = None):
    utterance = session.begin()
    frames = [] if frames is None else frames

    class Listener:
        def send_nowait(self, batch):
            frames.extend(batch)
            return True

        async def send(self, batch, sent):
            self.send_nowait(batch)
            sent(len(batch))

    try:
        await utterance.feed(text)
        utterance.end_text()
        await utterance.emit(Listener())
    finally:
        session.finish(utterance)
    return utterance, frames


async def test_it_speaks_again_and_again(autojump_clock, session):
    for _ in range(3):
        utterance, frames = await speak(session)
        assert utterance.report.cause is EndCause.FINISHED
        assert len(frames) == 50
    assert session.state is SessionState.IDLE
    assert session.utterance is None


async def test_one_utterance_at_a_time(autojump_clock, session, nursery):
    nursery.start_soon(speak, session)
    await wait_all_tasks_blocked()
    with pytest.raises(IllegalMoveError, match="one Synthesize at a time"):
        session.begin()


async def test_controls_say_where_the_audio_stands(autojump_clock, session, nursery):
    frames = []
    assert session.stop().last_sequence == 0
    nursery.start_soon(speak, session, SECOND, frames)
    await trio.sleep(0.5)
    for command in (session.pause, session.pause, session.resume, session.resume):
        status = command()
        assert status.last_sequence == len(frames)
        assert status.position_samples == 960 * len(frames)
    stopped = session.stop()
    assert stopped.last_sequence == len(frames)
    await wait_all_tasks_blocked()
    assert session.stop().last_sequence == stopped.last_sequence
    assert "nothing to stop" in session.stop().message


async def test_after_stop_the_next_utterance_may_begin_at_once(autojump_clock, session, nursery):
    nursery.start_soon(speak, session)
    await trio.sleep(0.2)
    session.stop()
    _, frames = await speak(session)
    assert len(frames) == 50


async def test_pause_while_idle_holds_the_next_utterance_until_resume(autojump_clock, session, nursery):
    frames = []
    assert "waits for RESUME" in session.pause().message
    nursery.start_soon(speak, session, SECOND, frames)
    await trio.sleep(5)
    assert frames == []
    session.resume()
    await trio.sleep(2)
    assert len(frames) == 50


async def test_reload_asks_for_a_fresh_model_once(autojump_clock, session, source):
    await speak(session)
    session.reload()
    await speak(session)
    await speak(session)
    assert source.fresh == [False, True, False]


async def test_it_ends_when_idle_for_too_long(autojump_clock, nursery, source, metronome):
    session = Session("s", "m", SessionOptions(), source, metronome, idle_timeout_s=10)
    await nursery.start(session.run)
    await trio.sleep(9)
    session.pause()
    session.resume()
    await trio.sleep(9.9)
    assert session.state is SessionState.IDLE
    await trio.sleep(0.2)
    assert session.state is SessionState.ENDED
    with pytest.raises(IllegalMoveError):
        session.begin()


async def test_speech_is_activity_and_a_forgotten_pause_is_not(autojump_clock, nursery, source, metronome):
    session = Session("s", "m", SessionOptions(), source, metronome, idle_timeout_s=10)
    await nursery.start(session.run)
    utterance, _ = await speak(session, SECOND * 30)
    assert utterance.report.cause is EndCause.FINISHED
    session.pause()
    utterance, frames = await speak(session)
    assert frames == []
    assert isinstance(utterance.failure, FailedPreconditionError)
    assert "idle for 10 s" in str(utterance.failure)


async def test_ending_it_stops_its_speech(autojump_clock, session, nursery):
    frames = []
    nursery.start_soon(speak, session, SECOND, frames)
    await trio.sleep(0.2)
    session.end()
    session.end()
    await trio.sleep(0.1)
    assert frames[-1].final
    assert session.state is SessionState.ENDED
    assert "ended" in repr(session)


async def test_ending_it_with_a_failure_is_a_status(autojump_clock, session, nursery):
    results = []

    async def run():
        results.append(await speak(session))

    nursery.start_soon(run)
    await trio.sleep(0.2)
    session.end(UnavailableError("the worker has stopped"))
    await trio.sleep(0.1)
    ((utterance, frames),) = results
    assert str(utterance.failure) == "the worker has stopped"
    assert not frames[-1].final


async def test_cancelled_from_above_it_ends_clean(autojump_clock, source, metronome):
    async with trio.open_nursery() as nursery:
        session = Session("s", "m", SessionOptions(), source, metronome)
        await nursery.start(session.run)
        nursery.start_soon(speak, session)
        await trio.sleep(0.2)
        nursery.cancel_scope.cancel()
    assert session.state is SessionState.ENDED
    assert session.utterance is None


class Link:
    """A client's connection."""

    def __init__(self):
        self.closed = trio.Event()

    async def wait_closed(self):
        await self.closed.wait()


async def test_an_orphan_that_is_idle_ends_after_a_grace(autojump_clock, nursery, source, metronome):
    first, second = Link(), Link()
    session = Session("s", "m", SessionOptions(), source, metronome, orphan_timeout_s=30, link=first)
    await nursery.start(session.run)
    session.attach(second)
    second.closed.set()
    await trio.sleep(100)
    assert session.state is SessionState.IDLE, "one connection is left"
    first.closed.set()
    await trio.sleep(20)
    session.attach(third := Link())
    await trio.sleep(100)
    assert session.state is SessionState.IDLE, "the client has come back"
    third.closed.set()
    await trio.sleep(29)
    assert session.expires_s == pytest.approx(1)
    await trio.sleep(2)
    assert session.state is SessionState.ENDED


async def test_an_orphan_that_speaks_ends_after_its_speech(autojump_clock, nursery, source, metronome):
    session = Session("s", "m", SessionOptions(), source, metronome, orphan_timeout_s=5, link=(link := Link()))
    await nursery.start(session.run)
    link.closed.set()
    utterance, frames = await speak(session, SECOND * 20)
    assert (utterance.report.cause, len(frames)) == (EndCause.FINISHED, 1000)
    await trio.sleep(4)
    assert session.state is SessionState.IDLE
    await trio.sleep(2)
    assert session.state is SessionState.ENDED


async def test_a_session_started_over_a_connection_that_is_gone_is_an_orphan(
    autojump_clock, nursery, source, metronome
):
    link = Link()
    link.closed.set()
    session = Session("s", "m", SessionOptions(), source, metronome, orphan_timeout_s=5, link=link)
    await nursery.start(session.run)
    await trio.sleep(6)
    assert session.state is SessionState.ENDED


async def test_the_next_utterance_waits_a_moment_for_the_end_of_the_one_before(autojump_clock, session, nursery):
    old = session.begin()
    nursery.start_soon(session.wait_silent)
    await trio.sleep(OVERLAP_S / 2)
    session.finish(old)
    await session.wait_silent()
    utterance, frames = await speak(session)
    assert (utterance.report.cause, len(frames)) == (EndCause.FINISHED, 50)


async def test_the_next_utterance_is_refused_if_the_one_before_goes_on(autojump_clock, session, nursery):
    session.begin()
    began = trio.current_time()
    await session.wait_silent()
    assert trio.current_time() - began == pytest.approx(OVERLAP_S)
    with pytest.raises(IllegalMoveError):
        session.begin()


async def test_of_two_that_wait_for_the_end_of_one_only_the_first_begins(autojump_clock, session, nursery):
    begun = []

    async def begin():
        await session.wait_silent()
        begun.append(session.begin())

    old = session.begin()
    with pytest.RaisesGroup(IllegalMoveError):
        async with trio.open_nursery() as clients:
            clients.start_soon(begin)
            clients.start_soon(begin)
            await wait_all_tasks_blocked()
            session.finish(old)
    assert len(begun) == 1
    assert session.utterance is begun[0]


async def test_a_connection_that_comes_while_the_session_ends_at_whatever_tick(autojump_clock, source, metronome):
    for ticks in range(12):
        async with trio.open_nursery() as nursery:
            session = Session("s", "m", SessionOptions(), source, metronome, idle_timeout_s=1, link=Link())
            await nursery.start(session.run)
            await trio.sleep(0.99)
            session.end()
            for _ in range(ticks):
                await trio.lowlevel.checkpoint()
            session.attach(Link())
            nursery.cancel_scope.cancel()
        assert session.state is SessionState.ENDED
