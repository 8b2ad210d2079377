"""Each way of breaking the contract is noticed."""

import threading
from pathlib import Path

import numpy as np
import pytest

from ttsw.options import Option
from ttsw.testing import FakeAdapter, check_adapter
from ttsw.types import VoicePack


class Good(FakeAdapter):
    def speak(self, text, options):
        rng = np.random.default_rng(options.get("seed"))
        for _ in range(4):
            yield rng.normal(0, 0.1, 2_400 + len(text)).astype(np.float32)


class Silent(Good):
    def speak(self, text, options):
        yield np.zeros(24_000, np.float32)


class Mute(Good):
    def speak(self, text, options):
        return iter(())


class Doubles(Good):
    def speak(self, text, options):
        yield np.ones(24_000)


class Stereo(Good):
    def speak(self, text, options):
        yield np.ones((24_000, 2), np.float32)


class NotANumber(Good):
    def speak(self, text, options):
        yield np.full(24_000, np.nan, np.float32)


class Lists(Good):
    def speak(self, text, options):
        yield [0.0] * 24_000


class WrongRate(Good):
    @property
    def sample_rate(self):
        return 1_000


class NoPlaces(Good):
    concurrency = 0


class BadDefault(Good):
    options = {"speed": Option("float", "tempo", 5.0, 0.5, 2)}  # noqa: RUF012


class NoHelp(Good):
    options = {"speed": Option("float", "", None, 0, 1)}  # noqa: RUF012


class AnyNumber(Good):
    options = {"max_tokens": Option("int", "how long a text may be", None, 1)}  # noqa: RUF012


class AnyText(Good):
    options = {"instruct": Option("str", "how to speak", longest=1_000_000)}  # noqa: RUF012


class WrongId(Good):
    @property
    def model_info(self):
        return super().model_info | {"model_id": "another"}


class SharedState(Good):
    """One generator for all utterances: what another one draws is missing here."""

    concurrency = 2
    turn = threading.Barrier(2, timeout=0.2)

    def speak(self, text, options):
        self.rng = np.random.default_rng(options.get("seed"))
        for _ in range(4):
            try:
                self.turn.wait()
            except threading.BrokenBarrierError:
                self.turn.reset()
            yield self.rng.normal(0, 0.1, 4_800).astype(np.float32)


class DiesWhenLeft(Good):
    dead = False

    def speak(self, text, options):
        finished = False
        try:
            if not self.dead:
                yield from super().speak(text, options)
            finished = True
        finally:
            self.dead = self.dead or not finished


def load(kind):
    return kind(VoicePack("fake", "voice", Path(), sample_rate=24_000))


async def test_a_good_adapter_passes():
    await check_adapter(load(Good))


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        (Silent, "silent"),
        (Mute, "no audio at all"),
        (Doubles, "float64, not float32"),
        (Stereo, r"shape \(24000, 2\)"),
        (NotANumber, "NaN or infinite"),
        (Lists, "a list, not a numpy array"),
        (WrongRate, "1000 Hz is no rate"),
        (WrongId, "another model"),
        (NoHelp, "'speed' has no help"),
        (AnyNumber, "'max_tokens' takes a number of any size"),
        (AnyText, "'instruct' takes 1000000 characters"),
        (SharedState, "another utterance runs beside"),
        (DiesWhenLeft, "after a cancelled utterance the model says nothing"),
    ],
)
async def test_a_broken_adapter_is_caught(kind, fault):
    with pytest.raises(AssertionError, match=fault):
        await check_adapter(load(kind))


async def test_bad_declarations_are_caught():
    with pytest.raises(Exception, match="is not valid"):
        await check_adapter(load(BadDefault))


async def test_a_claim_that_does_not_hold_is_caught():
    class Claims(Good):
        @property
        def model_info(self):
            return super().model_info | {"zero_shot": True}

    with pytest.raises(AssertionError, match="zero_shot is claimed, and no recording can be shown"):
        await check_adapter(Claims(VoicePack("fake", "voice", Path())))
