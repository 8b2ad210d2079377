"""PAUSE, RESUME, STOP and RELOAD: what they do, when, and what their answers are worth."""

import itertools
import threading
import time

import grpc
import pytest

from tests.integration.support import (
    PAUSE,
    RELOAD,
    RESUME,
    STOP,
    check_frames,
    eventually,
    numbers,
    pcm,
    refused,
)
from ttsw.fronts.abi.generated.tts import ErrorCode

WORDS = "One sentence of speech. Two sentences of speech. Three sentences of it."


class Reader:
    """Reads a call in a thread of its own, as a listener does, and notes when each frame came."""

    def __init__(self, call):
        self.frames, self.came_at, self.error = [], [], None
        self._call = call
        self._more = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)  # noqa: TID251 - the client isn't the worker
        self._thread.start()

    def _read(self):
        try:
            for frame in self._call:
                with self._more:
                    self.frames.append(frame)
                    self.came_at.append(time.monotonic())
                    self._more.notify_all()
        except grpc.RpcError as error:
            self.error = error

    def wait_for(self, count):
        """Wait until this many frames are there."""
        with self._more:
            assert self._more.wait_for(lambda: len(self.frames) >= count, 60), f"{len(self.frames)} frames came"

    def end(self):
        """Wait for the last frame, and return all."""
        self._thread.join(60)
        assert not self._thread.is_alive()
        assert self.error is None
        return self.frames


@pytest.fixture
def session(client):
    """A session in real time, speaking twice as fast."""
    with client.session(speed=2) as session_id:
        yield session_id


@pytest.mark.parametrize("commands", [(PAUSE, PAUSE), (RESUME, RESUME), (STOP, STOP), (RELOAD, RELOAD)])
def test_while_idle_every_command_succeeds_and_again(client, session, commands):
    before = time.time() * 1000
    for command in commands:
        answer = client.control(session, command)
        assert answer.success
        assert answer.error == ErrorCode.OK
        assert answer.message
        assert before - 1000 < answer.timestamp_ms < time.time() * 1000 + 1000
        assert (answer.last_sequence_number, answer.position_samples) == (0, 0)


def test_while_speaking_every_command_succeeds_and_again(client, session):
    reader = Reader(client.open(session, WORDS))
    reader.wait_for(2)
    answers = [client.control(session, command) for command in (PAUSE, PAUSE, RELOAD, RESUME, RESUME, STOP, STOP)]
    assert all(answer.success for answer in answers)
    assert answers[0].last_sequence_number == answers[1].last_sequence_number >= 2
    assert answers[-1].last_sequence_number == answers[-2].last_sequence_number
    check_frames(reader.end(), session)


def test_after_pause_no_frame_has_a_higher_number_until_resume(client, session):
    reader = Reader(client.open(session, WORDS))
    for _ in range(3):
        reader.wait_for(len(reader.frames) + 3)
        paused = client.control(session, PAUSE)
        reader.wait_for(paused.last_sequence_number)
        time.sleep(0.15)  # noqa: TID251 - real time in which frames must not come
        assert len(reader.frames) == paused.last_sequence_number
        assert paused.position_samples == paused.last_sequence_number * 960
        again = client.control(session, PAUSE)
        assert again.last_sequence_number == paused.last_sequence_number
        assert client.control(session, RESUME).last_sequence_number == paused.last_sequence_number
    check_frames(reader.end(), session)


def check_resumes_at_the_next_sample(client, text, pauses=4, **options):
    intact = client.say(text, speed=2, **options)
    with client.session(speed=2, **options) as session_id:
        reader = Reader(client.open(session_id, text))
        for _ in range(pauses):
            reader.wait_for(min(len(reader.frames) + 7, len(intact)))
            client.control(session_id, PAUSE)
            client.control(session_id, RESUME)
        interrupted = reader.end()
    check_frames(interrupted)
    assert pcm(interrupted) == pcm(intact)


def test_resume_goes_on_with_the_next_sample(client):
    check_resumes_at_the_next_sample(client, WORDS, chunk_ms=73)


def test_resume_goes_on_with_the_next_sample_of_a_real_voice(piper):
    check_resumes_at_the_next_sample(piper, "A sentence, interrupted.", pauses=2, **piper.repeatable())


def test_a_pause_touches_no_other_session_on_the_model(client, session):
    with client.session(speed=2) as other:
        held, going = Reader(client.open(session, WORDS)), Reader(client.open(other, WORDS))
        held.wait_for(2)
        paused = client.control(session, PAUSE).last_sequence_number
        check_frames(going.end(), other)
        assert len(held.frames) == paused
        client.control(session, RESUME)
        check_frames(held.end(), session)
        assert pcm(held.frames) == pcm(going.frames)


def test_pause_while_idle_holds_the_next_utterance_until_resume(client, session):
    client.control(session, PAUSE)
    reader = Reader(client.open(session, "Held back."))
    eventually(lambda: client.metric("active_syntheses"))
    time.sleep(0.15)  # noqa: TID251 - real time in which frames must not come
    assert not reader.frames
    assert client.control(session, RESUME).last_sequence_number == 0
    check_frames(reader.end(), session)
    check_frames(client.speak(session, "Not held."), session)


def test_a_pause_ends_with_its_utterance(client, session):
    reader = Reader(client.open(session, WORDS))
    reader.wait_for(1)
    client.control(session, PAUSE)
    client.control(session, STOP)
    check_frames(reader.end(), session)
    check_frames(client.speak(session, "At once."), session)


def test_stop_while_held_lets_the_next_utterance_speak(client, session):
    client.control(session, PAUSE)
    client.control(session, STOP)
    check_frames(client.speak(session, "At once."), session)


def test_stop_ends_the_stream_with_the_number_that_its_answer_names(client, session):
    reader = Reader(client.open(session, WORDS))
    reader.wait_for(5)
    answer = client.control(session, STOP)
    frames = reader.end()
    check_frames(frames, session)
    assert numbers(frames)[-1] == answer.last_sequence_number + 1
    assert not frames[-1].audio_data
    assert len(pcm(frames)) == answer.position_samples * 2


def test_stop_before_the_first_frame(client):
    with client.session(delay_ms=30_000) as session_id:
        reader = Reader(client.open(session_id, "A voice that thinks for half a minute."))
        eventually(lambda: client.metric("active_syntheses"))
        assert client.control(session_id, STOP).last_sequence_number == 0
        (frame,) = reader.end()
        assert frame.is_final
        assert not frame.audio_data


def test_the_next_utterance_may_begin_right_after_stop(client, session):
    expected = pcm(client.say("At once.", speed=2))
    for _ in range(5):
        reader = Reader(client.open(session, WORDS))
        reader.wait_for(1)
        client.control(session, STOP)
        following = client.speak(session, "At once.")
        check_frames(following, session)
        assert pcm(following) == expected
        check_frames(reader.end(), session)


def test_the_last_number_is_told_after_the_utterance_too(client, session):
    frames = client.speak(session, "Short.")
    answer = client.control(session, PAUSE)
    assert answer.last_sequence_number == len(frames)
    assert answer.position_samples == len(frames) * 960


def test_reload_gives_the_next_utterance_a_fresh_model(start_worker, connect):
    own = start_worker(model_manager__warmup_enabled="false")
    client = connect(own)
    with client.session() as session_id, client.session() as bystander:
        beside = Reader(client.open(bystander, WORDS))
        reader = Reader(client.open(session_id, WORDS))
        reader.wait_for(1)
        client.control(session_id, RELOAD)
        loads = len(own.lines("model loaded"))
        check_frames(reader.end(), session_id)
        assert len(own.lines("model loaded")) == loads
        check_frames(client.speak(session_id, "Fresh."), session_id)
        assert len(own.lines("model loaded")) == loads + 1
        check_frames(client.speak(session_id, "Not again."), session_id)
        assert len(own.lines("model loaded")) == loads + 1
        check_frames(beside.end(), bystander)
    # The old model goes when its last session does.
    eventually(lambda: len(own.lines("model unloaded")) == 1)


@pytest.mark.parametrize("command", [PAUSE, RESUME, STOP, RELOAD])
def test_an_unknown_session_is_not_found(client, command):
    answer = client.control("nobody", command)
    assert not answer.success
    assert answer.error == ErrorCode.NOT_FOUND
    assert "nobody" in answer.message


def test_realtime_is_never_further_ahead_than_lead_ms(client):
    """Noise only delays a frame's arrival: none may come before its time, counted from the request."""
    for lead_ms in (20, 200):
        with client.session(lead_ms=lead_ms, speed=2) as session_id:
            asked_at = time.monotonic()
            reader = Reader(client.open(session_id, WORDS))
            frames = reader.end()
        for frame, came_at in zip(frames, reader.came_at, strict=True):
            assert came_at - asked_at >= frame.position_samples / 48_000 - lead_ms / 1000


def test_a_pause_stops_the_clock_and_nothing_is_caught_up_with(client):
    with client.session(lead_ms=20, speed=2) as session_id:
        reader = Reader(client.open(session_id, WORDS))
        reader.wait_for(5)
        paused = client.control(session_id, PAUSE).last_sequence_number
        time.sleep(0.4)  # noqa: TID251 - real time that the clock must not count
        resumed_at = time.monotonic()
        client.control(session_id, RESUME)
        frames = reader.end()
    for frame, came_at in itertools.islice(zip(frames, reader.came_at, strict=True), paused, None):
        assert came_at - resumed_at >= (frame.sequence_number - 1 - paused) * 0.02 - 0.04


def test_fast_is_faster_than_real_time(client):
    asked_at = time.monotonic()
    frames = client.say("x", duration_ms=60_000)
    assert len(frames) == 3000
    assert time.monotonic() - asked_at < 30


def test_a_second_synthesize_in_a_session_is_refused(client, session):
    reader = Reader(client.open(session, WORDS))
    reader.wait_for(1)
    code, text = refused(client.open(session, "Me too."))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "one Synthesize at a time" in text
    check_frames(reader.end(), session)


def test_ending_a_session_stops_its_speech_and_frees_its_name(client):
    session_id = client.start()
    reader = Reader(client.open(session_id, WORDS))
    reader.wait_for(3)
    assert client.end(session_id).success
    client.start(session_id)
    check_frames(client.speak(session_id, "Another session of that name."), session_id)
    frames = reader.end()
    check_frames(frames)
    assert not frames[-1].audio_data
    assert client.end(session_id).success
    gone = client.end(session_id)
    assert not gone.success
    assert gone.error == ErrorCode.NOT_FOUND
