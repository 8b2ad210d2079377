"""Voices are what the library takes from a recording, measured as Whisper, Matcha and Kaldi do."""

import math
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from ttsw.adapters.cosyvoice2 import random_pack
from ttsw.adapters.cosyvoice2.reference_voice import Cloner, keep_voices, log_mel, read_speakers, spectrogram
from ttsw.adapters.reference_clip import ReferenceClip, read_clip
from ttsw.errors import InvalidArgumentError, UnavailableError


@pytest.fixture(scope="module")
def cloner(pack, model):
    return Cloner(pack, model, 1)


@pytest.fixture
def clips(tmp_path):
    for name, seed, seconds in (("anna", 1, 2.0), ("bert", 2, 2.5), ("long", 3, 31.0)):
        soundfile.write(tmp_path / f"{name}.wav", random_pack.voice(seconds, seed), 24_000)
    return tmp_path


def slaney(hertz):
    """Hertz to mel, as librosa has it: linear below 1 kHz, logarithmic above."""
    return hertz * 3 / 200 if hertz < 1000 else 15 + 27 * math.log(hertz / 1000) / math.log(6.4)


def back(mel):
    return mel * 200 / 3 if mel < 15 else 1000 * math.exp(math.log(6.4) / 27 * (mel - 15))


def filters(size, rate, bands, low, high):
    """Triangles of equal area between equally spaced mels, shape (bands, size / 2 + 1)."""
    edges = [back(mel) for mel in np.linspace(slaney(low), slaney(high), bands + 2)]
    hertz = np.arange(size // 2 + 1) * rate / size
    rows = []
    for left, middle, right in zip(edges, edges[1:], edges[2:], strict=False):
        rise, fall = (hertz - left) / (middle - left), (right - hertz) / (right - middle)
        rows.append(np.clip(np.minimum(rise, fall), 0, None) * 2 / (right - left))
    return np.array(rows)


def strengths(samples, size, hop):
    """Squares of a short-time Fourier transform with a periodic Hann window, shape (bins, frames)."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    starts = range(0, len(samples) - size + 1, hop)
    return np.stack([np.abs(np.fft.rfft(samples[at : at + size] * window)) ** 2 for at in starts], axis=1)


def test_the_spectrogram_is_what_its_definition_says(model):
    samples = random_pack.voice(1.0).astype(np.float64)
    padded = np.pad(samples, 720, mode="reflect")
    wanted = filters(1920, 24_000, 80, 0, 8000) @ np.sqrt(strengths(padded, 1920, 480) + 1e-9)
    found = spectrogram(torch.from_numpy(samples).float(), model.mel)
    assert found.shape == (50, 80)
    assert np.abs(found.numpy() - np.log(np.maximum(wanted, 1e-5)).T).max() < 1e-3


def test_the_log_mel_is_what_its_definition_says():
    samples = random_pack.voice(1.0, rate=16_000).astype(np.float64)
    padded = np.pad(samples, 200, mode="reflect")
    bands = np.log10(np.maximum(filters(400, 16_000, 128, 0, 8000) @ strengths(padded, 400, 160)[:, :-1], 1e-10))
    wanted = (np.maximum(bands, bands.max() - 8) + 4) / 4
    found = log_mel(torch.from_numpy(samples).float())
    assert found.shape == (128, 100)
    assert np.abs(found.numpy() - wanted).max() < 1e-3


def test_a_voice_has_two_frames_for_each_token(cloner, model, pack):
    voice = cloner.clone(read_clip(pack.files["seed.wav"]), pack.root)
    assert voice.tokens.shape == (75,)
    assert voice.mel.shape == (150, 80)
    assert voice.speaker.shape == (1, 192)
    assert len(voice.tokens.unique()) > 3
    other = cloner.clone(ReferenceClip(random_pack.voice(1.99, 5, 44_100), 44_100), pack.root)
    assert other.mel.shape == (2 * len(other.tokens), 80)
    assert not torch.allclose(other.speaker, voice.speaker, atol=1e-3)


def test_the_level_does_not_change_whose_voice_it_is(cloner, pack):
    clip = read_clip(pack.files["seed.wav"])
    one, other = (cloner.clone(replace(clip, samples=clip.samples * np.float32(gain)), pack.root) for gain in (1, 0.25))
    assert (one.speaker - other.speaker).abs().max() < 0.1 * one.speaker.abs().max()


def test_voices_are_kept(cloner, model, clips):
    voices = keep_voices(cloner, model, clips / "cache")
    first = voices.get(clips / "anna.wav")
    assert voices.get(clips / "anna.wav") is first
    later = keep_voices(cloner, model, clips / "cache")
    assert all(map(torch.equal, later.get(clips / "anna.wav"), first))
    assert (voices.computed, later.computed) == (1, 0)
    (kept,) = (clips / "cache").iterdir()
    for change in ({"tokens": np.array([1, 2])}, {"tokens": np.full(50, 999)}, {"speaker": np.ones((1, 7))}):
        np.savez(kept, **({name: getattr(first, name).numpy() for name in first._fields} | change))
        again = keep_voices(cloner, model, clips / "cache")
        assert all(map(torch.equal, again.get(clips / "anna.wav"), first))
        assert again.computed == 1


def test_a_long_recording_is_refused(cloner, model, clips):
    voices = keep_voices(cloner, model, None)
    with pytest.raises(InvalidArgumentError, match=r"long\.wav lasts 31 s, and CosyVoice 2 takes at most 30 s"):
        voices.get(clips / "long.wav")


def test_graphs_that_cannot_be_are_refused(pack, model, tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"no graph")
    for role in ("campplus.onnx", "speech_tokenizer_v2.onnx"):
        with pytest.raises(UnavailableError, match=r"bad\.onnx is no graph, or it is damaged"):
            Cloner(replace(pack, files=pack.files | {role: tmp_path / "bad.onnx"}), model)
    swapped = {"campplus.onnx": pack.files["speech_tokenizer_v2.onnx"]}
    with pytest.raises(UnavailableError, match="is another graph: it has 2 inputs, and not 1"):
        Cloner(replace(pack, files=pack.files | swapped), model)


def test_tokens_that_the_model_lacks_are_told(pack, model, tmp_path):
    graph = random_pack._token_graph(np.random.default_rng(0), 500)
    (tmp_path / "tokens.onnx").write_bytes(graph)
    cloner = Cloner(replace(pack, files=pack.files | {"speech_tokenizer_v2.onnx": tmp_path / "tokens.onnx"}), model)
    with pytest.raises(
        UnavailableError, match=r"the graphs aren't this model's: tokens go from .* and must be below 81"
    ):
        cloner.clone(read_clip(pack.files["seed.wav"]), pack.root)


def saved(voice, words=(1, 2, 3)):
    """A speaker as the library's `add_zero_shot_spk` saves it."""
    return {
        "prompt_text": torch.tensor([words], dtype=torch.int32),
        "llm_prompt_speech_token": voice.tokens[None].int(),
        "flow_prompt_speech_token": voice.tokens[None].int(),
        "prompt_speech_feat": voice.mel[None],
        "llm_embedding": voice.speaker,
        "flow_embedding": voice.speaker,
    }


def test_speakers_are_read_and_checked(model, voice, tmp_path):
    torch.save({"Anna": saved(voice), "Bert": {"embedding": voice.speaker}}, tmp_path / "good.pt")
    anna, bert = read_speakers(tmp_path / "good.pt", model).values()
    assert all(map(torch.equal, anna.voice, voice))
    assert (anna.words, bert.words, len(bert.voice.tokens)) == ((1, 2, 3), (), 0)
    good = saved(voice)
    for bad in (
        {"A": good | {"flow_embedding": torch.ones(1, 7)}},
        {"A": good | {"prompt_speech_feat": voice.mel[None, :-2]}},
        {"A": good | {"prompt_text": torch.tensor([[99_999]])}},
        {"A": good | {"flow_prompt_speech_token": voice.tokens[None] + 81}},
        {"A": {}},
        {"A": 3},
        [good],
    ):
        torch.save(bad, tmp_path / "bad.pt")
        with pytest.raises(UnavailableError, match=r"bad\.pt holds no speakers of this model"):
            read_speakers(tmp_path / "bad.pt", model)
