"""Text that a voice can't read, and languages asked for in other words, on a real voice over gRPC."""

import grpc
import pytest

from tests.integration.support import check_frames, refused


@pytest.fixture(scope="module")
def english(start_worker):
    return start_worker("--adapter", "hibari")


@pytest.fixture
def client(connect, english):
    return connect(english)


def test_chinese_on_an_english_voice_is_refused_by_name(client, english):
    with client.session(pacing="fast") as session_id:
        code, text = refused(client.open(session_id, "你好。今天天气很好。"))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "Han script, and hibari-heart reads en" in text
        check_frames(client.speak(session_id, "Still there."), session_id)


def test_the_readable_part_is_spoken_and_the_rest_told(client, english):
    with client.session(pacing="fast") as session_id:
        call = client.open(session_id, "The word 你好 means hello.")
        frames = list(call)
        check_frames(frames, session_id)
        assert len(frames) > 30
        told = dict(call.trailing_metadata())
        assert (told["ttsw-unread-characters"], told["ttsw-unread-scripts"]) == ("2", "Han")
        call = client.open(session_id, "Plain English.")
        list(call)
        assert "ttsw-unread-characters" not in dict(call.trailing_metadata())
    (line, *_) = english.lines("utterance", session_id=session_id)
    assert line["unread"] == {"Han": 2}


@pytest.mark.parametrize("language", ["en", "en-US", "en_us", "EN"])
def test_a_language_with_a_region_is_the_model_s(client, language):
    answer = client.try_start(f"language-{language}", language=language)
    assert answer.success, answer.message
    assert "language en" in answer.message
    client.end(f"language-{language}")


def test_a_language_that_the_model_lacks_is_refused(client):
    answer = client.try_start("language-fr", language="fr-FR")
    assert not answer.success
    assert "option language='fr-FR' is not valid: it must be one of: en" in answer.message
