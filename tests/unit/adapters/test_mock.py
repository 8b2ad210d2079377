from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import trio

from ttsw.adapters.base import EngineSettings
from ttsw.adapters.mock import LEVEL, PITCH_HZ, MockAdapter
from ttsw.errors import InternalError
from ttsw.options import parse_options
from ttsw.testing import check_adapter
from ttsw.types import VoicePack


@pytest.fixture
def mock():
    return MockAdapter.load(VoicePack("mock", "440hz", Path(), sample_rate=48_000), EngineSettings())


def speak(mock, text, **options):
    return list(mock.speak(text, parse_options({k: str(v) for k, v in options.items()}, mock.options)))


def test_50_ms_a_character_of_440_hz(mock):
    audio = np.concatenate(speak(mock, "a" * 20))
    assert len(audio) == 48_000
    spectrum = np.abs(np.fft.rfft(audio))
    assert np.argmax(spectrum) == PITCH_HZ
    assert np.abs(audio).max() == pytest.approx(LEVEL, rel=1e-3)


def test_chunks_are_seamless_and_of_the_wanted_length(mock):
    whole = np.concatenate(speak(mock, "a" * 20, chunk_ms=1_000))
    chunks = speak(mock, "a" * 20, chunk_ms=70)
    assert [len(chunk) for chunk in chunks] == [3_360] * 14 + [960]
    assert np.array_equal(np.concatenate(chunks), whole)


@pytest.mark.parametrize(
    ("options", "seconds"),
    [({"ms_per_char": 10}, 0.2), ({"duration_ms": 1_500}, 1.5), ({"speed": 2}, 0.5), ({"duration_ms": 0}, 0.0)],
)
def test_lengths(mock, options, seconds):
    assert sum(map(len, speak(mock, "a" * 20, **options))) == round(seconds * 48_000)


def test_it_fails_where_it_is_told_to(mock):
    chunks = mock.speak("a" * 20, parse_options({"fail_after_ms": "250", "chunk_ms": "100"}, mock.options))
    assert [len(chunk) for chunk in islice(chunks, 3)] == [4_800, 4_800, 2_400]
    with pytest.raises(InternalError, match="failed after 250"):
        next(chunks)


async def test_a_delay_can_be_cancelled(mock):
    options = parse_options({"delay_ms": "600000"}, mock.options)
    with trio.move_on_after(0.05) as scope:
        await trio.to_thread.run_sync(next, mock.speak("a", options))
    assert scope.cancelled_caught


async def test_it_is_a_proper_adapter(mock):
    await check_adapter(mock)


def test_configured_concurrency_wins():
    pack = VoicePack("mock", "440hz", Path())
    assert MockAdapter.load(pack, EngineSettings(concurrency=3)).concurrency == 3
