"""A language model's text: pieces that come as they are made, with pauses, over a real socket."""

import time

from tests.integration.support import check_frames
from ttsw.fronts.abi.generated.tts import TextChunk

SENTENCE = "Let me check that for you."
PAUSE_S = 2.0


def paused(session_id, *pieces):
    """Chunks with a pause behind each but the last; says when the last one went out."""
    for text, flush in pieces:
        yield TextChunk(session_id=session_id, text=text, flush=flush)
        time.sleep(PAUSE_S)  # noqa: TID251 - the client's thread
    yield TextChunk(session_id=session_id, text="", is_final=True)


def heard_before_the_end(client, *pieces, **options):
    """Speak, and say how much audio came before the text ended, s."""
    with client.session(text_mode="tokens", **options) as session_id:
        began = time.monotonic()
        frames = []
        early = 0
        for frame in client.stream(paused(session_id, *pieces)):
            frames.append(frame)
            early += bool(frame.audio_data) and time.monotonic() - began < PAUSE_S * len(pieces) - 0.1
        check_frames(frames)
        return early * 0.02, len(frames) * 0.02


def test_a_sentence_before_a_pause_is_heard_in_the_pause(client):
    early_s, whole_s = heard_before_the_end(client, (SENTENCE, False), speed=2)
    assert early_s > 0.5
    assert whole_s >= early_s


def test_without_a_quiet_time_it_waits_for_more_text(client):
    early_s, whole_s = heard_before_the_end(client, (SENTENCE, False), speed=2, flush_ms=0)
    assert early_s == 0
    assert whole_s > 0.5


def test_half_a_sentence_is_heard_when_flushed(client):
    early_s, whole_s = heard_before_the_end(client, ("One moment, I will", True), speed=2, flush_ms=0)
    assert early_s >= whole_s - 0.02 > 0.3
