"""What comes back for a text: frames, their numbers, their end."""

import itertools
import queue
from math import ceil

import grpc
import numpy as np
import pytest

from tests.integration.support import STOP, check_frames, numbers, pcm, refused, text_chunks
from ttsw.fronts.abi.generated.tts import TextChunk

SENTENCES = "One short sentence. And here is another one. The last of them."


def samples(frames):
    return np.frombuffer(pcm(frames), "<i2")


def test_every_frame_is_20_ms_at_48_khz_and_numbered_and_one_is_final(client):
    with client.session(pacing="fast") as session_id:
        frames = client.speak(session_id, SENTENCES)
    check_frames(frames, session_id)
    assert len(frames) > 100
    assert frames[-1].audio_data


@pytest.mark.parametrize("duration_ms", [1, 19, 20, 21, 40, 1234.5])
def test_the_last_frame_is_padded_with_zeros(client, duration_ms):
    frames = client.say("a", duration_ms=duration_ms)
    check_frames(frames)
    spoken = round(duration_ms * 48)
    assert len(frames) == ceil(spoken / 960)
    assert not samples(frames)[spoken:].any()
    if duration_ms > 20:
        assert samples(frames)[: spoken - 200].any()


@pytest.mark.parametrize("texts", [("",), ("   \n",), ("", "", ""), ("…", "😀"), ("\x00\x07\x1b",)])
def test_a_text_without_speech_is_an_empty_end_marker(client, texts):
    (frame,) = client.say(*texts)
    check_frames([frame])
    assert frame.is_final
    assert not frame.audio_data


def test_the_numbers_begin_again_with_each_utterance(client):
    with client.session(pacing="fast") as session_id:
        for _ in range(3):
            check_frames(client.speak(session_id, "Again."), session_id)


def test_segments_count_sentences_and_begin_where_they_are_heard(client):
    sentences = ["One short sentence.", "And here is another one.", "The last of them."]
    frames = client.say(" ".join(sentences))
    starts = {segment: next(group) for segment, group in itertools.groupby(frames, lambda frame: frame.segment)}
    assert list(starts) == [0, 1, 2]
    heard_at, expected = [frame.position_samples for frame in starts.values()], 0
    for at, sentence in zip(heard_at, sentences, strict=True):
        assert 0 <= at - expected < 960 + 480  # the first frame that begins in the segment; the limiter looks ahead
        expected += len(sentence) * 50 * 48


def test_each_chunk_is_a_text_of_its_own(client):
    """`chunks`: what was cut inside a word is spoken as two words, and so in two segments."""
    frames = client.say("Good mor", "ning to you.")
    assert {frame.segment for frame in frames} == {0, 1}


@pytest.mark.parametrize("cut", [1, 2, 3, 7])
def test_tokens_are_joined_to_the_letter(client, cut):
    whole = client.say(SENTENCES, text_mode="tokens")
    pieces = [SENTENCES[at : at + cut] for at in range(0, len(SENTENCES), cut)]
    cut_up = client.say(*pieces, text_mode="tokens")
    check_frames(cut_up)
    assert pcm(cut_up) == pcm(whole)
    assert [frame.segment for frame in cut_up] == [frame.segment for frame in whole]


@pytest.mark.parametrize("text_mode", ["chunks", "tokens"])
def test_speech_begins_before_the_text_is_final(client, text_mode):
    chunks = queue.Queue()
    with client.session(text_mode=text_mode, pacing="fast") as session_id:
        call = client.stream(iter(chunks.get, None))
        chunks.put(TextChunk(session_id=session_id, text="This is a sentence. And thi"))
        first = next(call)
        assert first.audio_data
        chunks.put(TextChunk(session_id=session_id, text="s is not yet one.", is_final=True))
        chunks.put(None)
        check_frames([first, *call], session_id)


def test_all_that_is_complete_is_heard_while_text_is_awaited(client):
    """No frame waits in the worker for text that hasn't come: it might be long in coming."""
    chunks = queue.Queue()
    with client.session(pacing="fast") as session_id:
        call = client.stream(iter(chunks.get, None))
        chunks.put(TextChunk(session_id=session_id, text="Ten chars."))
        frames = [next(call) for _ in range(24)]  # of 25: the limiter's look-ahead is in the last
        chunks.put(None)
        check_frames([*frames, *call], session_id)


def test_half_close_ends_a_text_as_is_final_does(client):
    with client.session(pacing="fast") as session_id:
        final = client.speak(session_id, SENTENCES)
        closed = list(client.stream([TextChunk(session_id=session_id, text=SENTENCES)]))
    check_frames(closed, session_id)
    assert pcm(closed) == pcm(final)


def test_what_follows_is_final_is_not_spoken(client):
    with client.session(pacing="fast") as session_id:
        alone = client.speak(session_id, "The end.")
        more = [*text_chunks(session_id, "The end."), TextChunk(session_id=session_id, text="No, not yet.")]
        assert pcm(client.stream(more)) == pcm(alone)


def test_later_chunks_need_not_name_the_session(client):
    with client.session(pacing="fast") as session_id:
        chunks = [TextChunk(session_id=session_id, text="One. "), TextChunk(text="Two.", is_final=True)]
        frames = list(client.stream(chunks))
    check_frames(frames, session_id)
    assert {frame.segment for frame in frames} == {0, 1}


def test_stop_in_a_text_ends_it_with_an_empty_marker(client):
    with client.session() as session_id:
        call = client.open(session_id, "word " * 200)
        frames = [next(call) for _ in range(5)]
        client.control(session_id, STOP)
        frames.extend(call)
    check_frames(frames, session_id)
    assert not frames[-1].audio_data
    assert len(frames) < 1000


def test_a_failed_synthesis_is_not_passed_off_as_a_short_one(client):
    with client.session(pacing="fast", fail_after_ms=700, chunk_ms=100) as session_id:
        call = client.open(session_id, "This would have been two seconds and more of speech.")
        frames = []
        with pytest.raises(grpc.RpcError) as caught:
            frames.extend(call)
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert "fail_after_ms" in caught.value.details()
        assert not any(frame.is_final for frame in frames)
        assert numbers(frames) == list(range(1, len(frames) + 1))
        assert 30 <= len(frames) <= 35
        intact = client.say("This would have been two seconds and more of speech.", chunk_ms=100)
        assert pcm(frames)[:-3840] == pcm(intact[: len(frames)])[:-3840]  # up to the fade at the failure


def test_a_session_outlives_its_failed_utterance(client):
    with client.session(pacing="fast", fail_after_ms=100, duration_ms=90, chunk_ms=90) as session_id:
        check_frames(client.speak(session_id, "Short enough."))
    with client.session(pacing="fast", fail_after_ms=100) as session_id:
        for _ in range(2):
            code, _ = refused(client.open(session_id, "Too long for this voice."))
            assert code is grpc.StatusCode.INTERNAL


def test_the_same_seed_is_the_same_audio(piper):
    options = piper.repeatable()
    first, second = (piper.say("A sentence to repeat.", **options) for _ in range(2))
    assert pcm(first) == pcm(second)
    if "seed" in options:
        assert pcm(piper.say("A sentence to repeat.", seed=6)) != pcm(first)


def test_a_real_voice_keeps_to_the_frames_too(piper):
    frames = piper.say("It speaks. And it speaks again, with other words.")
    check_frames(frames)
    assert {frame.segment for frame in frames} == {0, 1}
    assert np.abs(samples(frames)).max() > 3000
