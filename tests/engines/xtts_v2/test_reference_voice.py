"""Voices are found where they may be, computed once, and kept."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from ttsw.adapters.pytorch import voice_cache as voices_module
from ttsw.adapters.reference_clip import read_clip
from ttsw.adapters.xtts import random_pack
from ttsw.adapters.xtts import reference_voice as conditioning
from ttsw.adapters.xtts.reference_voice import clone, keep_voices, read_speakers
from ttsw.errors import UnavailableError


@pytest.fixture
def model(adapter):
    return adapter._model


@pytest.fixture
def clips(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    for name, seed in (("anna", 1), ("bert", 2)):
        soundfile.write(folder / f"{name}.wav", random_pack.voice(2.0, seed), 24_000)
    return folder


def test_a_voice_is_what_the_library_computes(model, library, pack):
    voice = clone(model, read_clip(pack.files["seed.wav"]))
    samples, _ = soundfile.read(pack.files["seed.wav"], dtype="float32")
    audio = torch.from_numpy(conditioning.soxr.resample(samples, 24_000, 22_050))[None]
    assert torch.allclose(voice.latents, library.get_gpt_cond_latents(audio, 22_050, 30, 4), atol=1e-6)
    assert torch.allclose(voice.speaker, library.get_speaker_embedding(audio, 22_050), atol=1e-6)
    assert (voice.latents.shape, voice.speaker.shape) == ((1, 32, 64), (1, 512, 1))


def test_the_configuration_says_how_much_of_a_clip_counts(model, clips, monkeypatch):
    clip = read_clip(clips / "anna.wav")
    whole = clone(model, clip)
    monkeypatch.setattr(model.config, "max_ref_len", 1)
    assert not torch.allclose(clone(model, clip).speaker, whole.speaker)
    half = replace(clip, samples=clip.samples[:24_000])
    assert torch.allclose(clone(model, half).latents, clone(model, clip).latents, atol=2e-3)


def test_a_loud_clip_is_normalised_if_the_configuration_says_so(model, clips, monkeypatch):
    clip = read_clip(clips / "anna.wav")
    quiet = replace(clip, samples=clip.samples * np.float32(0.1))
    assert not torch.allclose(clone(model, clip).latents, clone(model, quiet).latents, atol=1e-4)
    monkeypatch.setattr(model.config, "sound_norm_refs", True)
    assert torch.allclose(clone(model, clip).latents, clone(model, quiet).latents, atol=1e-3)


def test_a_voice_is_computed_once(model, clips, tmp_path):
    voices = keep_voices(model, "weights", tmp_path / "cache" / "xtts-v2")
    first = voices.get(clips / "anna.wav")
    assert voices.get(clips / "anna.wav") is first
    later = keep_voices(model, "weights", tmp_path / "cache" / "xtts-v2")
    assert all(map(torch.equal, later.get(clips / "anna.wav"), first))
    assert (voices.computed, later.computed) == (1, 0)
    assert [path.suffix for path in (tmp_path / "cache" / "xtts-v2").iterdir()] == [".npz"]


def test_a_copy_is_the_same_clip_and_a_new_recording_another(model, clips, tmp_path):
    voices = keep_voices(model, "weights", tmp_path / "cache")
    first = voices.get(clips / "anna.wav")
    (clips / "copy.wav").write_bytes((clips / "anna.wav").read_bytes())
    assert voices.get(clips / "copy.wav") is first
    (clips / "anna.wav").write_bytes((clips / "bert.wav").read_bytes())
    os.utime(clips / "anna.wav", ns=(1, 1))
    assert voices.get(clips / "anna.wav") is not first
    assert voices.computed == 2


def test_other_weights_or_parameters_are_other_voices(model, clips, tmp_path, monkeypatch):
    for identity, length in (("weights", 30), ("others", 30), ("weights", 1)):
        monkeypatch.setattr(model.config, "gpt_cond_len", length)
        keep_voices(model, identity, tmp_path / "cache").get(clips / "anna.wav")
    assert len(list((tmp_path / "cache").iterdir())) == 3


def test_a_damaged_file_is_computed_anew(model, clips, tmp_path):
    first = keep_voices(model, "weights", tmp_path / "cache").get(clips / "anna.wav")
    (kept,) = (tmp_path / "cache").iterdir()
    whole = kept.read_bytes()
    short = {"latents": np.zeros((1, 32, 64), np.float32)}
    odd = short | {"speaker": np.zeros((1, 3, 1), np.float32)}
    unheard = short | {"speaker": np.full((1, 512, 1), np.nan, np.float32)}
    pickled = short | {"speaker": np.array([object()])}
    for content in (b"", whole[:1000], b"no archive", short, odd, unheard, pickled):
        if isinstance(content, bytes):
            kept.write_bytes(content)
        else:
            np.savez(kept, **content)
        again = keep_voices(model, "weights", tmp_path / "cache")
        assert all(map(torch.equal, again.get(clips / "anna.wav"), first))
        assert again.computed == 1
        assert kept.read_bytes() == whole, "it is written anew, too"


def test_a_folder_that_cannot_be_written_costs_nobody_their_speech(model, clips, tmp_path):
    (tmp_path / "cache").write_text("a file")
    voices = keep_voices(model, "weights", tmp_path / "cache" / "deep")
    assert voices.get(clips / "anna.wav").speaker.shape == (1, 512, 1)


def test_two_who_ask_at_once_wait_for_one(model, clips, tmp_path):
    voices = keep_voices(model, "weights", tmp_path / "cache")
    with ThreadPoolExecutor(4) as threads:
        found = [*threads.map(voices.get, [clips / "anna.wav"] * 4)]
    assert voices.computed == 1
    assert all(each is found[0] for each in found)


def test_memory_holds_those_that_were_used_last(model, clips, monkeypatch):
    monkeypatch.setattr(voices_module, "KEPT", 2)
    soundfile.write(clips / "carl.wav", random_pack.voice(2.0, 3), 24_000)
    voices = keep_voices(model, "weights", None)
    for name in ("anna", "bert", "anna", "carl", "anna", "bert"):
        voices.get(clips / f"{name}.wav")
    assert voices.computed == 4, "bert had gone for carl"


def test_a_clip_that_is_gone_is_told(model, tmp_path):
    with pytest.raises(UnavailableError, match=r"none\.wav cannot be read: No such file"):
        keep_voices(model, "weights", None).get(tmp_path / "none.wav")


def test_speakers_are_read_and_checked(model, tmp_path):
    good = {"gpt_cond_latent": torch.ones(1, 32, 64), "speaker_embedding": torch.ones(1, 512, 1)}
    torch.save({"Ana": good}, tmp_path / "good.pth")
    assert list(read_speakers(tmp_path / "good.pth", model)) == ["Ana"]
    for bad in (
        {"Ana": good | {"gpt_cond_latent": torch.ones(1, 32, 65)}},
        {"Ana": good | {"speaker_embedding": torch.ones(512)}},
        {"Ana": {}},
        {"Ana": 3},
        [good],
    ):
        torch.save(bad, tmp_path / "bad.pth")
        with pytest.raises(UnavailableError, match=r"bad\.pth holds no speakers of this model"):
            read_speakers(tmp_path / "bad.pth", model)
