import math
from dataclasses import replace

import numpy as np
import pytest
import trio

from ttsw.audio import AdaptiveGain, Calibration, FixedGain, measure_lufs
from ttsw.errors import InternalError, InvalidArgumentError, OutOfMemoryError
from ttsw.options import Option
from ttsw.sessions.options import SessionOptions
from ttsw.sessions.voice import CALIBRATION_TEXTS, LoudnessTarget, Voice, calibrate_voice, warm_up
from ttsw.testing import FakeHost
from ttsw.units import SAMPLE_RATE


class Noisy(FakeHost):
    """Speaks noise of a known level, 50 ms a character."""

    def __init__(self, level: float) -> None:
        super().__init__()
        rng = np.random.default_rng(1)
        self.adapter.speak = lambda text, _: iter([(level * rng.normal(size=len(text) * 2_400)).astype(np.float32)])


def spoken(voice: Voice, options: SessionOptions, text: str) -> np.ndarray:
    chain = voice.open_chain(options)
    pcm = b"".join(chain.push(chunk) for chunk in voice.host.adapter.speak(text, {})) + chain.finish()
    return np.frombuffer(pcm, "<i2") / np.float32(32_768)


async def test_a_warm_voice_speaks_at_the_target_whatever_its_own_level():
    for level in (0.004, 0.03):
        host = Noisy(level)
        calibration = await calibrate_voice(host, CALIBRATION_TEXTS, {})
        voice = Voice(host, LoudnessTarget(-20.0), calibration)
        assert measure_lufs(spoken(voice, SessionOptions(), "a" * 100), SAMPLE_RATE) == pytest.approx(-20, abs=0.3)


async def test_too_short_a_text_gives_no_calibration():
    assert await calibrate_voice(Noisy(0.01), ("hi",), {}) is None
    assert await calibrate_voice(Noisy(0.01), (), {}) is None


async def test_a_model_that_cannot_say_the_warm_up_text_is_a_fault():
    with pytest.raises(InternalError, match="broken"):
        await warm_up(FakeHost(fails_at=0, error=InternalError("broken")), ("hello",), {})


def test_the_level_is_the_workers_unless_the_session_has_a_wish():
    calibration = Calibration(-26.0, 10.0)
    assert LoudnessTarget(-16.0).gain(calibration, SAMPLE_RATE, None).gain_db == pytest.approx(10)
    assert LoudnessTarget(-16.0).gain(calibration, SAMPLE_RATE, -20.0).gain_db == pytest.approx(6)
    assert LoudnessTarget(None).gain(calibration, SAMPLE_RATE, None) == FixedGain(0.0)
    assert LoudnessTarget(None).gain(calibration, SAMPLE_RATE, -20.0).gain_db == pytest.approx(6)


def test_a_voice_not_calibrated_adapts():
    assert isinstance(LoudnessTarget(-16.0).gain(None, SAMPLE_RATE, None), AdaptiveGain)


def test_options_of_pack_and_configuration_hold_where_the_session_gives_none():
    voice = Voice(FakeHost(), defaults={"seed": "3", "pacing": "fast"})
    assert voice.parse_options({}, lead_ms=40).engine == {"seed": 3}
    own = voice.parse_options({"seed": "4", "pacing": "realtime"}, lead_ms=40)
    assert (own.engine, own.lead_s) == ({"seed": 4}, 0.04)
    assert math.isinf(voice.parse_options({}, lead_ms=40).lead_s)
    with pytest.raises(InvalidArgumentError, match="'pitch'"):
        voice.parse_options({"pitch": "1"}, lead_ms=40)


async def test_closing_it_unloads_the_model():
    host = FakeHost()
    await Voice(host).close()
    assert host.closed


class Hungry(FakeHost):
    """Finds no memory, so many times, at one of its steps."""

    def __init__(self, times: int, step: int = 0) -> None:
        super().__init__(fails_at=step, error=OutOfMemoryError("full"))
        self.times = times

    async def relieve(self) -> bool:
        await trio.lowlevel.checkpoint()
        self.times -= 1
        self.fails_at = self.steps if self.times else None
        return True


async def speak(voice: Voice) -> int:
    spoken = []

    async def keep(chunk, _seconds):
        await trio.lowlevel.checkpoint()
        spoken.append(len(chunk))

    await voice.speak("a" * 20, {}, lambda chunk: chunk, keep)
    return sum(spoken)


async def test_without_memory_it_makes_room_and_speaks_the_segment_again():
    host = Hungry(1)
    assert await speak(Voice(host, relieve=host.relieve)) == 9_600


async def test_it_tries_no_more_than_twice():
    host = Hungry(2)
    with pytest.raises(OutOfMemoryError):
        await speak(Voice(host, relieve=host.relieve))
    assert host.times == 1


async def test_where_nothing_can_go_it_fails_at_once():
    with pytest.raises(OutOfMemoryError):
        await speak(Voice(Hungry(1)))


async def test_what_has_been_heard_is_not_said_again():
    host = Hungry(1, step=1)
    with pytest.raises(OutOfMemoryError):
        await speak(Voice(host, relieve=host.relieve))
    assert host.times == 1


def test_another_voice_of_the_model_is_of_another_loudness(monkeypatch):
    """A calibration is one speaker's; whoever speaks with another gets a gain that adapts."""
    host = FakeHost()
    host.model = replace(host.model, options={"speaker": Option("str", "who", voice=True), "seed": Option("int", "n")})
    gains = []
    monkeypatch.setattr(LoudnessTarget, "gain", lambda level, calibration, *_: gains.append(calibration) or FixedGain())
    own = Calibration(-20.0, 4.0)
    for defaults, given, expected in [
        ({}, {}, own),
        ({}, {"seed": "3"}, own),
        ({}, {"speaker": "ann"}, None),
        ({"speaker": "ann"}, {}, own),
        ({"speaker": "ann"}, {"speaker": "ann"}, own),
        ({"speaker": "ann"}, {"speaker": "joe"}, None),
    ]:
        voice = Voice(host, calibration=own, defaults=defaults)
        voice.open_chain(voice.parse_options(given, lead_ms=40))
        assert gains.pop() == expected, (defaults, given)


async def test_an_engine_is_asked_to_prepare_only_if_that_does_anything():
    host = FakeHost()
    voice = Voice(host)
    await voice.prepare(SessionOptions(engine={"seed": 1}))
    assert host.prepared == []
    host.model = replace(host.model, prepares=True)
    await voice.prepare(SessionOptions(engine={"seed": 1}))
    assert host.prepared == [{"seed": 1}]


async def test_a_voice_is_lost_when_its_host_is():
    host = FakeHost()
    host.broken.set()
    assert "has broken" in str(await Voice(host).lost())
