from contextlib import aclosing

import pytest
import trio

from ttsw.errors import FailedPreconditionError, InternalError, InvalidArgumentError
from ttsw.sessions.synthesizer import run_synthesizer
from ttsw.sessions.utterance import EndCause
from ttsw.sessions.voice import LoudnessTarget, Voice
from ttsw.testing import FakeHost

FAST = {"pacing": "fast"}


def voice(**kwargs) -> Voice:
    return Voice(FakeHost(**kwargs), LoudnessTarget(None))


async def collect(frames) -> list[bytes]:
    async with aclosing(frames):
        return [frame async for frame in frames]


async def test_a_text_becomes_frames(autojump_clock):
    async with run_synthesizer(voice()) as synthesizer:
        for _ in range(2):
            frames = await collect(synthesizer.synthesize_streaming("a" * 100, "s", FAST))
            assert [len(frame) for frame in frames] == [1920] * 50
        assert synthesizer.report.cause is EndCause.FINISHED
        assert synthesizer.model_info["model_id"] == "fake-voice"
        await synthesizer.warmup("hello")


async def test_text_may_come_in_pieces(autojump_clock):
    async def pieces():
        yield "Hello th"
        await trio.sleep(1)
        yield "ere."

    speaking = voice()
    async with run_synthesizer(speaking) as synthesizer:
        await collect(synthesizer.synthesize_streaming(pieces(), options=FAST | {"text_mode": "tokens"}))
    assert speaking.host.texts == ["Hello there."]


async def test_pause_resume_and_stop(autojump_clock):
    async with run_synthesizer(voice()) as synthesizer:
        await synthesizer.pause()
        heard = []

        async def listen():
            heard.extend(await collect(synthesizer.synthesize_streaming("a" * 100)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await trio.sleep(3)
            assert heard == []
            await synthesizer.resume()
            await trio.sleep(0.5)
            with pytest.raises(FailedPreconditionError):
                await collect(synthesizer.synthesize_streaming("b"))
            await synthesizer.stop()
        assert 20 < len(heard) < 35
        assert synthesizer.report.cause is EndCause.STOPPED
        assert len(await collect(synthesizer.synthesize_streaming("a" * 100, options=FAST))) == 50


async def test_a_listener_who_leaves_ends_the_text(autojump_clock):
    speaking = voice(step_s=0.01)
    async with run_synthesizer(speaking) as synthesizer:
        async with aclosing(synthesizer.synthesize_streaming("a" * 10_000)) as frames:
            async for _ in frames:
                break
        assert synthesizer.report.cause is EndCause.CLIENT_LEFT
        assert len(await collect(synthesizer.synthesize_streaming("a" * 100, options=FAST))) == 50


async def test_faults_are_raised(autojump_clock):
    async with run_synthesizer(voice(fails_at=2, error=InternalError("broken"))) as synthesizer:
        with pytest.raises(InternalError, match="broken"):
            await collect(synthesizer.synthesize_streaming("a" * 100, options=FAST))
        with pytest.raises(InvalidArgumentError, match="'pitch'"):
            await collect(synthesizer.synthesize_streaming("a", options={"pitch": "1"}))
