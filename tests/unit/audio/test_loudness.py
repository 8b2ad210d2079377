import math
import re
import shutil
import subprocess

import numpy as np
import pytest

from ttsw.audio.chain import Chain
from ttsw.audio.loudness import Calibration, calibrate, measure_lufs, normalize_lufs, normalize_rms
from ttsw.audio.resample import resample

pytestmark = pytest.mark.slow


def tone(level, seconds=2.0, rate=48_000):
    return (level * np.sin(np.arange(int(seconds * rate)) * (2 * np.pi * 997 / rate))).astype(np.float32)


@pytest.mark.parametrize("rate", [16_000, 22_050, 24_000, 44_100, 48_000])
def test_a_sine_at_full_scale_is_at_minus_three(rate):
    assert measure_lufs(tone(1.0, rate=rate), rate) == pytest.approx(-3.01, abs=0.05)  # BS.1770-4, annex 1


def test_speech_measures_as_an_independent_meter_says(joe):
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed: its ebur128 filter is the independent meter")
    audio = resample(np.concatenate(joe[:3]))
    source = ["-f", "f32le", "-ar", "48000", "-ac", "1", "-i", "-"]
    command = ["ffmpeg", "-hide_banner", "-nostats", *source, "-filter_complex", "ebur128", "-f", "null", "-"]
    report = subprocess.run(command, input=audio.astype("<f4").tobytes(), capture_output=True, check=True).stderr
    theirs = float(re.findall(rb"I: +(-?[0-9.]+) LUFS", report)[-1])
    assert measure_lufs(audio, 48_000) == pytest.approx(theirs, abs=0.15)


@pytest.mark.parametrize("audio", [np.zeros(48_000, np.float32), np.zeros(0, np.float32), tone(0.5, 0.05), tone(1e-5)])
def test_what_has_no_loudness_stays_as_it_is(audio):
    assert measure_lufs(audio, 48_000) == -math.inf
    assert normalize_lufs(audio) is audio


@pytest.mark.parametrize("seconds", [0.1, 0.3, 0.399, 0.4, 0.4001, 0.65, 2.0])
def test_short_audio_is_brought_to_its_target(seconds):
    levelled = normalize_lufs(tone(0.01, seconds), -16.0)
    assert measure_lufs(levelled, 48_000) == pytest.approx(-16.0, abs=1e-3)
    assert levelled.dtype == np.float32


def test_pauses_do_not_count():
    speech = tone(0.1)
    pauses = np.concatenate((speech, np.zeros(96_000, np.float32), speech))
    assert measure_lufs(pauses, 48_000) == pytest.approx(measure_lufs(speech, 48_000), abs=0.5)


@pytest.mark.parametrize("target", [0.05, 0.1, 0.5])
def test_rms(target):
    assert np.sqrt(np.mean(normalize_rms(tone(0.3), target) ** 2)) == pytest.approx(target, rel=1e-4)


@pytest.mark.parametrize("audio", [np.zeros(0, np.float32), np.zeros(960, np.float32)])
def test_rms_of_nothing(audio):
    assert normalize_rms(audio) is audio


@pytest.mark.parametrize("audio", [tone(0.1, 2.5), np.zeros(480_000, np.float32), np.zeros(0, np.float32)])
def test_too_little_speech_is_no_calibration(audio):
    assert calibrate(audio, 48_000) is None


def test_a_calibrations_gain_counts_the_limiter_in():
    calibration = Calibration(-25.0, 8.0, (-24.0, -21.0, -18.5, -16.0, -14.5, -13.5))
    assert calibration.gain(-26.0).gain_db == pytest.approx(-1.0)
    assert calibration.gain(-16.0).gain_db == pytest.approx(10.0)
    assert calibration.gain(-1.0).gain_db == pytest.approx(16.0)  # no further than the last trial
    assert Calibration(-25.0, 8.0).gain(-16.0).gain_db == pytest.approx(9.0)


@pytest.mark.parametrize("target", [-23.0, -16.0])
def test_a_calibrated_voice_meets_its_target_over_ten_sentences(streamed, joe, target):
    calibration = calibrate(np.concatenate(joe[:4]), 22_050)
    assert calibration.speech_s > 8.0
    gain = calibration.gain(target)
    data = b"".join(streamed(Chain(22_050, gain), sentence) for sentence in joe)
    assert measure_lufs(np.frombuffer(data, "<i2") / 32_768, 48_000) == pytest.approx(target, abs=0.5)
