"""How loud voices come out of the worker, by two meters that aren't ours: pyloudnorm, and ffmpeg's ebur128."""

import os
import re
import shutil
import subprocess

import numpy as np
import pytest
from pyloudnorm import Meter

from tests.integration.support import Client, pcm
from ttsw.adapters.base import EngineSettings
from ttsw.adapters.families import adapter_class
from ttsw.options import parse_options
from ttsw.packs.catalogue import open_catalogue

TARGET_LUFS = -16.0
VOICES = ("mock-440hz", "piper-en-us-joe-medium", "hibari-heart")
SEED = {"seed": "11"}
SENTENCES = (
    "The quick train left the station before anybody had noticed.",
    "She asked whether the second draft would be ready by Thursday?",
    "Rain fell on the old tin roof all night long.",
    "Please hold the line while I look up your account.",
    "Nobody expected the harbour to freeze over in early November!",
    "A small dog slept quietly under the wooden kitchen table.",
    "Your appointment has been moved to half past nine tomorrow.",
    "They built the lighthouse from stone that came by sea.",
    "How many of these boxes can you carry up the stairs?",
    "The last chapter explains everything that went before it.",
)


def load(model_id):
    """Load a voice into this process, or skip where it isn't installed."""
    pack = open_catalogue(None, os.environ).catalogue[model_id]
    if pack.family != "mock":
        package = {"piper": "piper", "hibari": "hibari"}[pack.family]
        pytest.importorskip(package, reason=f"the voice comes with the extra `{pack.family}`, which is not installed")
    return adapter_class(pack.family).load(pack, EngineSettings())


def lufs(audio, rate=48_000):
    return Meter(rate).integrated_loudness(audio.astype(np.float64))


def ebur128(audio):
    """Integrated loudness and true peak as ffmpeg has them."""
    told = subprocess.run(
        ["ffmpeg", "-hide_banner", "-nostats", "-f", "f32le", "-ar", "48000", "-ac", "1", "-i", "-",
         "-af", "ebur128=peak=true", "-f", "null", "-"],
        input=audio.astype("<f4").tobytes(), capture_output=True, check=True,
    ).stderr.decode().rpartition("Summary:")[2]  # fmt: skip
    return [float(re.search(rf"{name}:\s+(-?[\d.]+)", told)[1]) for name in ("I", "Peak")]


@pytest.fixture(scope="module")
def spoken(start_worker):
    """What the worker says with a voice, sentence by sentence; each voice calibrated by its warm-up."""
    worker = start_worker()
    heard = {}

    def speak(model_id):
        if model_id not in heard:
            with Client(worker.address) as client, client.session(model_id, pacing="fast", **SEED) as session_id:
                frames = [client.speak(session_id, sentence) for sentence in SENTENCES]
            heard[model_id] = [np.frombuffer(pcm(each), "<i2") / 32_768 for each in frames]
        return heard[model_id]

    return speak


@pytest.mark.parametrize("model_id", VOICES)
def test_ten_sentences_are_as_loud_as_asked(spoken, model_id):
    load(model_id).close()
    whole = np.concatenate(spoken(model_id))
    assert lufs(whole) == pytest.approx(TARGET_LUFS, abs=1)
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed; pyloudnorm alone has judged")
    loudness, peak = ebur128(whole)
    assert loudness == pytest.approx(TARGET_LUFS, abs=1)
    assert peak <= -0.9


@pytest.mark.parametrize("model_id", VOICES)
def test_between_sentences_there_is_no_step_but_the_voices_own(spoken, model_id):
    """From one sentence to the next, what is heard steps by no more than 1 LU beyond what the engine itself does."""
    voice = load(model_id)
    options = parse_options(SEED, voice.session_options())
    own = [lufs(np.concatenate(list(voice.speak(each, options))), voice.sample_rate) for each in SENTENCES]
    voice.close()
    steps, own_steps = (np.abs(np.diff(values)) for values in (list(map(lufs, spoken(model_id))), own))
    assert (steps - own_steps).max() <= 1, (steps.round(2), own_steps.round(2))
