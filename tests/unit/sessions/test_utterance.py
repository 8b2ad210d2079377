from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.ticks import at_tick
from ttsw.errors import InternalError, InvalidArgumentError, UnavailableError
from ttsw.sessions.frame_timer import GRID_S, FrameTimer
from ttsw.sessions.options import SessionOptions
from ttsw.sessions.utterance import BUFFERED_S, GOODBYE_S, PIECE, EndCause, Utterance
from ttsw.sessions.voice import LoudnessTarget, Voice
from ttsw.telemetry.snapshot import FrameCounter
from ttsw.testing import FakeHost
from ttsw.units import FRAME_S

FAST = SessionOptions(lead_s=float("inf"))
REALTIME = SessionOptions(lead_s=0.04)
SECOND = "a" * 100  # what the fake engine speaks in a second


class Listener:
    """Takes frames, with the time of each."""

    def __init__(self, stalls_after: float = float("inf")) -> None:
        self.frames, self.times = [], []
        self.stalls_after = stalls_after

    def send_nowait(self, frames):
        return False

    async def send(self, frames, sent):
        for frame in frames:
            if len(self.frames) >= self.stalls_after:
                await trio.sleep_forever()
            await trio.lowlevel.checkpoint_if_cancelled()
            self.frames.append(frame)
            self.times.append(trio.current_time())
            sent(1)

    @property
    def pcm(self) -> bytes:
        return b"".join(frame.pcm for frame in self.frames)


@pytest.fixture
async def make(nursery):
    metronome = FrameTimer()
    nursery.start_soon(metronome.run)

    def make(host: FakeHost, options: SessionOptions = FAST, **kwargs) -> Utterance:
        async def voice() -> Voice:
            await trio.lowlevel.checkpoint()
            return Voice(host, LoudnessTarget(None))

        return Utterance(voice, options, metronome, **kwargs)

    return make


async def feed(utterance: Utterance, *texts: str, gap_s: float = 0.0) -> None:
    for text in texts:
        await utterance.feed(text)
        await trio.sleep(gap_s)
    utterance.end_text()


@asynccontextmanager
async def speaking(utterance: Utterance, text: str, **listening):
    """Let an utterance speak, beside the block, to its end."""
    listener = Listener(**listening)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(utterance.produce)
        nursery.start_soon(feed, utterance, text)
        nursery.start_soon(utterance.emit, listener)
        yield listener


async def speak(utterance: Utterance, *texts: str, gap_s: float = 0.0, listener: Listener | None = None) -> Listener:
    listener = listener or Listener()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(utterance.produce)
        nursery.start_soon(lambda: feed(utterance, *texts, gap_s=gap_s))
        await utterance.emit(listener)
        utterance.leave()
        nursery.cancel_scope.cancel()
    return listener


async def test_text_becomes_frames_that_end_once(autojump_clock, make):
    utterance = make(FakeHost())
    listener = await speak(utterance, SECOND)
    assert len(listener.frames) == 50
    assert [frame.final for frame in listener.frames] == [False] * 49 + [True]
    report = utterance.report
    assert (report.cause, report.frames, report.made, report.segments) == (EndCause.FINISHED, 50, 50, 2)


async def test_realtime_frames_come_20_ms_apart_after_the_lead(autojump_clock, make):
    listener = await speak(make(FakeHost(), REALTIME), SECOND)
    start = listener.times[0]
    for number, time in enumerate(listener.times):
        late_s = time - start - max(0.0, (number + 1) * FRAME_S - 0.04)
        assert -1e-6 <= late_s <= GRID_S + 1e-6


async def test_empty_text_is_one_empty_final_frame(autojump_clock, make):
    for text in ("", " \n", "\U0001f600\U0001f600", "\x00\x07", "..."):
        utterance = make(host := FakeHost())
        listener = await speak(utterance, text)
        assert [(frame.pcm, frame.sequence, frame.final) for frame in listener.frames] == [(b"", 1, True)]
        assert host.texts == []
        assert utterance.report.rtf is None
        assert utterance.report.first_s is None


async def test_chunks_are_texts_of_their_own_and_tokens_are_joined_to_the_letter(autojump_clock, make):
    host = FakeHost()
    await speak(make(host), "Hello th", "ere. You")
    assert [text.strip() for text in host.texts] == ["Hello th", "ere.", "You"]
    host = FakeHost()
    await speak(make(host, SessionOptions(joined=True, lead_s=float("inf"))), "Hello th", "ere. Yo", "u.")
    assert [text.strip() for text in host.texts] == ["Hello there.", "You."]


async def test_tokens_are_spoken_as_soon_as_a_sentence_is_complete(autojump_clock, make):
    host = FakeHost()
    utterance = make(host, SessionOptions(joined=True, lead_s=0.04))
    listener = Listener()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(utterance.produce)
        nursery.start_soon(utterance.emit, listener)
        await utterance.feed("This is the first sentence. And this")
        await trio.sleep(1)
        assert [text.strip() for text in host.texts] == ["This is the first sentence."]
        assert listener.frames
        assert not listener.frames[-1].final
        await utterance.feed(" is the second.")
        utterance.end_text()
    assert listener.frames[-1].final
    assert utterance.report.underruns == 0, "the silence was the client's, who sent no text"


async def test_pause_holds_frames_back_and_resume_goes_on_with_the_next_sample(autojump_clock, make):
    whole = await speak(make(FakeHost(), REALTIME), SECOND)
    utterance = make(FakeHost(), REALTIME)
    async with speaking(utterance, SECOND) as listener:
        await trio.sleep(0.5)
        utterance.pause()
        held = len(listener.frames)
        await trio.sleep(10)
        assert len(listener.frames) == held == utterance.last_sequence
        utterance.resume()
    assert listener.pcm == whole.pcm
    assert listener.times[held] - listener.times[held - 1] == pytest.approx(10, abs=0.05)
    assert utterance.report.underruns == 0


async def test_pause_takes_back_a_frame_that_waits_for_the_listener(autojump_clock, make):
    utterance = make(FakeHost(), REALTIME)
    async with speaking(utterance, SECOND, stalls_after=10) as listener:
        await trio.sleep(0.5)
        utterance.pause()
        listener.stalls_after = float("inf")
        await trio.sleep(1)
        assert len(listener.frames) == 10
        utterance.resume()
    assert [frame.sequence for frame in listener.frames] == list(range(1, 51))


async def test_stop_ends_with_an_empty_final_frame_at_once(autojump_clock, make):
    utterance = make(host := FakeHost(step_s=0.05), REALTIME)
    async with speaking(utterance, SECOND * 10) as listener:
        await trio.sleep(1.001)
        utterance.stop()
        stopped = trio.current_time()
    assert trio.current_time() == stopped
    last = listener.frames[-1]
    assert (last.pcm, last.final, last.sequence) == (b"", True, utterance.last_sequence + 1)
    assert utterance.report.cause is EndCause.STOPPED
    assert host.steps < 100, "the engine went on after STOP"


async def test_stop_while_paused_ends_it_too(autojump_clock, make):
    utterance = make(FakeHost(), REALTIME)
    utterance.pause()
    async with speaking(utterance, SECOND) as listener:
        await wait_all_tasks_blocked()
        assert not listener.frames
        utterance.stop()
    assert [(frame.sequence, frame.final) for frame in listener.frames] == [(1, True)]


async def test_a_stopped_listener_who_takes_nothing_is_left_in_the_end(autojump_clock, make):
    utterance = make(FakeHost(), REALTIME)
    async with speaking(utterance, SECOND, stalls_after=5):
        await trio.sleep(0.5)
        utterance.stop()
        stopped = trio.current_time()
    assert trio.current_time() - stopped == pytest.approx(GOODBYE_S)


async def test_a_listener_who_stops_reading_costs_a_bounded_number_of_frames(autojump_clock, make):
    utterance = make(host := FakeHost(), FAST)
    listener = Listener(stalls_after=1)
    with trio.move_on_after(60):
        await speak(utterance, SECOND * 60, listener=listener)
    made_s = host.steps * 0.1
    assert made_s <= BUFFERED_S + 2 * 0.1 + 20 * FRAME_S
    assert utterance.leave().cause is EndCause.CLIENT_LEFT


async def test_a_failed_engine_ends_without_a_final_frame_after_what_it_made(autojump_clock, make):
    utterance = make(FakeHost(fails_at=5, error=InternalError("broken weights")), REALTIME)
    listener = await speak(utterance, SECOND)
    assert not any(frame.final for frame in listener.frames)
    assert len(listener.frames) == pytest.approx(25, abs=1)
    assert str(utterance.failure) == "broken weights"
    assert (utterance.report.cause, utterance.report.error) == (EndCause.FAILED, "broken weights")


async def test_an_unexpected_error_is_an_internal_one(autojump_clock, make):
    utterance = make(FakeHost(fails_at=0))
    await speak(utterance, SECOND)
    assert isinstance(utterance.failure, InternalError)
    assert "RuntimeError: the fake engine was told to fail" in str(utterance.failure)


async def test_audio_that_is_not_finite_is_an_error_not_noise(autojump_clock, make):
    host = FakeHost()
    host.adapter.speak = lambda text, options: iter([np.full(4_800, np.nan, np.float32)])
    utterance = make(host)
    listener = await speak(utterance, SECOND)
    assert listener.frames == []
    assert isinstance(utterance.failure, InternalError)


async def test_a_voice_that_cannot_be_had_fails_the_utterance(autojump_clock):
    async def no_voice() -> Voice:
        await trio.lowlevel.checkpoint()
        raise UnavailableError("no memory")

    utterance = Utterance(no_voice, FAST, FrameTimer())
    assert (await speak(utterance, SECOND)).frames == []
    assert str(utterance.failure) == "no memory"


async def test_text_beyond_the_limit_is_refused(autojump_clock, make):
    utterance = make(FakeHost(), most_characters=10)
    await utterance.feed("a" * 10)
    with pytest.raises(InvalidArgumentError, match=r"may have 10 characters \(worker.max_text_chars\)"):
        await utterance.feed("a")


async def test_a_failure_given_to_stop_is_the_status(autojump_clock, make):
    utterance = make(FakeHost(), REALTIME)
    async with speaking(utterance, SECOND) as listener:
        await trio.sleep(0.2)
        utterance.stop(EndCause.SESSION_ENDED, UnavailableError("bye"))
    assert not listener.frames[-1].final
    report = utterance.leave()
    assert (report.cause, report.error) == (EndCause.SESSION_ENDED, "bye")


async def test_it_can_be_left_at_every_wait(autojump_clock, make):
    """Cancelled at any moment from outside, nothing is left running and the report says who left."""
    for moment_s in np.arange(0.0, 1.4, 0.0613):
        utterance = make(FakeHost(step_s=0.03), REALTIME)
        with trio.move_on_after(float(moment_s)):
            await speak(utterance, SECOND, "more", gap_s=0.07)
        report = utterance.leave()
        assert report.cause in {EndCause.CLIENT_LEFT, EndCause.FINISHED}
        assert "FrameBuffer" in repr(utterance)


async def test_text_for_an_utterance_that_has_failed_goes_nowhere(autojump_clock, make):
    utterance = make(FakeHost(fails_at=0, error=InternalError("broken")))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(utterance.produce)
        nursery.start_soon(utterance.emit, Listener())
        for _ in range(10):
            await utterance.feed(SECOND)
    assert utterance.leave().characters == 10 * len(SECOND)


class Trace:
    """Remembers what it is told."""

    def __init__(self):
        self.told = []

    @contextmanager
    def segment(self, index, characters):
        self.told.append(f"segment {index}: {characters}")
        yield
        self.told.append(f"segment {index} ends")

    def step(self, compute_s):
        self.told.append("step")

    def first_frame(self, first_s):
        self.told.append("first frame")


async def test_its_trace_is_told_of_segments_steps_and_the_first_frame(autojump_clock, make):
    utterance = make(FakeHost())
    utterance.trace = Trace()
    await speak(utterance, "One two three. Four five six.")
    assert utterance.trace.told.count("first frame") == 1
    (first, *_, last) = [line for line in utterance.trace.told if line != "first frame"]
    assert (first, last) == ("segment 0: 14", "segment 1 ends")
    assert utterance.trace.told.count("step") == 4


async def test_frames_are_tallied_and_those_that_were_late(autojump_clock, make):
    tally = FrameCounter()
    await speak(make(FakeHost(), REALTIME, tally=tally), SECOND)
    assert (tally.frames, tally.late) == (50, 0)
    slow = FrameCounter()
    await speak(make(FakeHost(step_s=0.3), REALTIME, tally=slow), SECOND)
    assert slow.late > 0


async def test_how_long_a_stop_took_to_silence_it_is_measured(autojump_clock, make):
    utterance = make(FakeHost(), REALTIME)
    async with speaking(utterance, SECOND * 5):
        await trio.sleep(0.5)
        assert utterance.silenced_s is None
        utterance.stop()
        await trio.sleep(1)
        assert utterance.silenced_s == pytest.approx(0, abs=0.01)
        assert utterance.leave().duration_s == pytest.approx(1.5, abs=0.01)


class Wire(Listener):
    """Takes frames at once, or, while `full`, as soon as there is room again."""

    def __init__(self) -> None:
        super().__init__()
        self.full = False
        self.room = trio.lowlevel.ParkingLot()

    def send_nowait(self, frames):
        if not self.full:
            self.frames += frames
        return not self.full

    async def send(self, frames, sent):
        while self.full:
            await self.room.park()
            await trio.lowlevel.checkpoint_if_cancelled()
        self.frames += frames
        sent(len(frames))

    def toggle(self) -> None:
        self.full = not self.full
        if not self.full:
            self.room.unpark_all()


@pytest.mark.parametrize("congested", [False, True])
async def test_no_frame_follows_the_number_that_a_stop_tells_at_any_tick(autojump_clock, make, congested):
    for tick in count():
        utterance, wire, told = make(FakeHost(step_s=0.01), REALTIME), Wire(), []

        def stop(utterance=utterance, wire=wire, told=told):
            if congested:
                wire.toggle()
                wire.toggle()
            told.append(utterance.last_sequence)
            utterance.stop()

        async def run(utterance=utterance, wire=wire):
            async with trio.open_nursery() as nursery:
                if congested:
                    nursery.start_soon(congest, wire)
                nursery.start_soon(utterance.produce)
                nursery.start_soon(feed, utterance, "a" * 20)
                await utterance.emit(wire)
                utterance.leave()
                nursery.cancel_scope.cancel()

        if not await at_tick(tick, stop, run):
            break
        if utterance.report.cause is EndCause.STOPPED:
            assert [frame.sequence for frame in wire.frames] == list(range(1, told[0] + 2))
            assert (wire.frames[-1].pcm, wire.frames[-1].final) == (b"", True)
    assert tick > 20


@pytest.mark.parametrize("congested", [False, True])
async def test_no_frame_follows_a_pause_at_any_tick(autojump_clock, make, congested):
    for tick in count():
        utterance, wire, told = make(FakeHost(step_s=0.01), REALTIME), Wire(), []

        def pause(utterance=utterance, told=told, wire=wire):
            told.append(utterance.last_sequence)
            utterance.pause()
            if wire.full:
                wire.toggle()

        async def resume(utterance=utterance, wire=wire, told=told):
            await trio.sleep(1)
            if told:
                assert len(wire.frames) == told[0]
            utterance.resume()

        async def run(utterance=utterance, wire=wire, resume=resume):
            async with trio.open_nursery() as nursery:
                if congested:
                    nursery.start_soon(congest, wire)
                nursery.start_soon(utterance.produce)
                nursery.start_soon(feed, utterance, "a" * 20)
                nursery.start_soon(resume)
                await utterance.emit(wire)
                nursery.cancel_scope.cancel()

        if not await at_tick(tick, pause, run):
            break
        assert [frame.sequence for frame in wire.frames] == list(range(1, 11))
        assert wire.frames[-1].final
    assert tick > 20


async def congest(wire: Wire) -> None:
    while True:
        wire.toggle()
        await trio.sleep(0.015)


def joined(**more) -> SessionOptions:
    return SessionOptions(joined=True, lead_s=0.04, **more)


@asynccontextmanager
async def told(utterance: Utterance):
    """Speak beside the block, which tells the text."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(utterance.produce)
        nursery.start_soon(utterance.emit, Listener())
        yield
        utterance.end_text()


async def test_a_finished_sentence_is_spoken_when_the_text_is_quiet(autojump_clock, make):
    host = FakeHost()
    utterance = make(host, joined())
    async with told(utterance):
        await utterance.feed("Let me check that for you.")
        await trio.sleep(0.24)
        assert host.texts == []
        await trio.sleep(0.02)
        assert host.texts == ["Let me check that for you."]
        await trio.sleep(4)
        await utterance.feed("It is")
        await trio.sleep(4)
        assert len(host.texts) == 1, "a sentence under way waits for its end"
        await utterance.feed(" done.")
    assert host.texts == ["Let me check that for you.", "It is done."]
    assert utterance.report.underruns == 0


async def test_the_quiet_time_counts_from_the_last_text_not_from_the_engine_s_end(autojump_clock, make):
    host = FakeHost(step_s=0.1)
    utterance = make(host, joined())
    async with told(utterance):
        await utterance.feed("This sentence takes a while to be made. And this one.")
        began = trio.current_time()
        while len(host.texts) < 2:
            await trio.sleep(0.01)
        assert 0.4 < trio.current_time() - began < 0.44, "the engine is done after 0.4 s, and the text was quiet then"


async def test_tokens_that_keep_coming_are_not_flushed(autojump_clock, make):
    host = FakeHost()
    utterance = make(host, joined())
    async with told(utterance):
        for token in ("I met Dr", ".", " Smith", " at 5 p", ".m", ".", " Mon", "day."):
            await utterance.feed(token)
            await trio.sleep(0.2)
        assert host.texts == []
    assert host.texts == ["I met Dr. Smith at 5 p.m. Monday."]


@pytest.mark.parametrize("text", ["Let me check.\n\n", "\u597d\u7684\u3002"])
async def test_what_no_text_can_change_is_spoken_at_once(autojump_clock, make, text):
    host = FakeHost()
    utterance = make(host, joined(flush_s=float("inf")))
    async with told(utterance):
        await utterance.feed(text)
        await wait_all_tasks_blocked()
        assert host.texts == [text.strip()]


async def test_a_quiet_time_of_0_is_never(autojump_clock, make):
    host = FakeHost()
    utterance = make(host, SessionOptions.parse({"text_mode": "tokens", "flush_ms": "0"}, {}))
    async with told(utterance):
        await utterance.feed("Let me check.")
        await trio.sleep(100)
        assert host.texts == []


async def test_a_flush_speaks_what_is_pending_and_the_utterance_goes_on(autojump_clock, make):
    host = FakeHost()
    utterance = make(host, joined())
    listener = Listener()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(utterance.produce)
        nursery.start_soon(utterance.emit, listener)
        await utterance.feed("One moment, I")
        await utterance.feed(" will", flush=True)
        await trio.sleep(2)
        assert host.texts == ["One moment, I will"]
        assert len(listener.frames) == 8, "all whole frames: none is held back while there is no text"
        await utterance.feed("", flush=True)
        await utterance.feed("check.")
        utterance.end_text()
    assert host.texts == ["One moment, I will", "check."]
    assert [frame.sequence for frame in listener.frames] == list(range(1, 13))
    assert [frame.final for frame in listener.frames] == [False] * 11 + [True]
    assert utterance.report.underruns == 0


async def test_a_text_without_any_speech_lets_others_run(autojump_clock, make):
    utterance = make(FakeHost())
    turns = 0

    async def others():
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        await speak(utterance, "\U0001f600. " * 20_000)
        nursery.cancel_scope.cancel()
    assert turns > 60_000 / PIECE


async def test_it_can_be_left_at_every_tick(autojump_clock, make):
    for tick in count():
        utterance = make(FakeHost(step_s=0.03), joined())
        scope = trio.CancelScope()

        async def run(utterance=utterance, scope=scope):
            with scope:
                await speak(utterance, "Some words. ", "And more.", gap_s=0.3)

        reached = await at_tick(tick, scope.cancel, run)
        report = utterance.leave()
        assert report.cause in {EndCause.CLIENT_LEFT, EndCause.FINISHED}
        await wait_all_tasks_blocked()
        if not reached:
            break
    assert tick > 20


def speaking_only(languages, **info):
    host = FakeHost()
    pack = replace(host.model.pack, languages=languages)
    host.model = replace(host.model, pack=pack, info={**host.model.info, **info})
    return host


async def test_a_text_that_the_voice_can_not_read_fails_and_names_script_and_languages(autojump_clock, make):
    utterance = make(host := speaking_only(("en", "de")))
    listener = await speak(utterance, "你好。再见。")
    assert (listener.frames, host.texts) == ([], [])
    assert isinstance(utterance.failure, InvalidArgumentError)
    assert str(utterance.failure) == (
        "none of the text can be read: it is in Han script, and fake-voice reads en, de; choose a voice for the text's "
        "language"
    )


async def test_the_readable_part_of_a_text_is_spoken_and_the_rest_reported(autojump_clock, make):
    utterance = make(host := speaking_only(("en",)))
    listener = await speak(utterance, "Say 你好 to her. Привет. 😀")
    assert host.texts == ["Say to her."]
    assert listener.frames[-1].final
    assert utterance.report.unread == {"Han": 2, "Cyrillic": 6}


@pytest.mark.parametrize(
    ("languages", "info", "options"),
    [
        ((), {}, {}),
        (("en",), {"scripts": "any"}, {}),
        (("en", "zh"), {}, {}),
        (("en", "zh"), {"scripts": "languages"}, {"language": "en"}),
        (("en", "zh"), {}, {"language": "zh"}),
    ],
)
async def test_who_reads_a_script(autojump_clock, make, languages, info, options):
    utterance = make(host := speaking_only(languages, **info), SessionOptions(lead_s=float("inf"), **options))
    await speak(utterance, "你好。")
    assert (host.texts, utterance.report.unread) == (["你好。"], {})


async def test_a_session_s_language_is_the_one_that_is_read(autojump_clock, make):
    utterance = make(speaking_only(("en", "zh")), SessionOptions(lead_s=float("inf"), language="en"))
    await speak(utterance, "你好。")
    assert "fake-voice reads en;" in str(utterance.failure)


async def test_a_text_of_emoji_only_is_no_text_that_can_not_be_read(autojump_clock, make):
    utterance = make(speaking_only(("en",)))
    listener = await speak(utterance, "😀 …")
    assert [frame.final for frame in listener.frames] == [True]
    assert utterance.failure is None
