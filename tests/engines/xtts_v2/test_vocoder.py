"""Audio in windows is the audio of the whole, and a window's work doesn't grow with what was spoken."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - as everywhere

from ttsw.adapters.pytorch.audio import Stretch, fade_out
from ttsw.adapters.xtts.vocoder import HifiganVocoder

TOKENS = 16


@pytest.fixture(scope="module")
def vocoder(adapter):
    return adapter._vocoder


def latents(count=TOKENS, seed=0):
    return torch.randn(count, 64, generator=torch.Generator().manual_seed(seed)) * 3


def speaker():
    return torch.randn(1, 512, 1, generator=torch.Generator().manual_seed(9)) * 3


@torch.inference_mode()
def by_library(library, frames, speed=1.0):
    x = frames[None]
    if speed != 1:
        x = F.interpolate(x.transpose(1, 2), scale_factor=1 / speed, mode="linear").transpose(1, 2)
    return library.hifigan_decoder(x, g=speaker()).flatten().numpy()


def in_chunks(vocoder, frames, sizes, speed=1.0):
    speech, pieces, at = vocoder.open(speaker(), speed), [], 0
    for size in sizes:
        pieces.append(speech.push(frames[at : at + size], end=at + size >= len(frames)))
        at += size
    assert at >= len(frames)
    return np.concatenate(pieces)


@pytest.mark.parametrize(
    ("sizes", "speed"),
    [([16], 1.0), ([8, 8], 1.0), ([8, 8], 0.5), ([3, 13], 0.77), ([15, 1], 1.3), ([4, 0, 5, 7], 2.0), ([1] * 16, 2.0)],
)
def test_windows_are_the_whole(vocoder, library, sizes, speed):
    whole, found = by_library(library, latents(), speed), in_chunks(vocoder, latents(), sizes, speed)
    assert found.dtype == np.float32
    assert found.shape == whole.shape
    assert np.abs(whole).std() > 1e-3
    assert np.abs(found - whole).max() < 1e-5


@pytest.mark.parametrize("count", [1, 3, 4])  # of 2, torch copies where it would interpolate: 8 frames stay 8
def test_short_ones_too(vocoder, library, count):
    whole = by_library(library, latents(count))
    assert np.abs(in_chunks(vocoder, latents(count), [1] * count) - whole).max() < 1e-5


@pytest.mark.parametrize("factor", [0.5, 1 / 1.3, 1.0, 24000 / 22050, 4.0, 1.999])
@pytest.mark.parametrize("size", [1, 2, 7, 600])
def test_frames_are_stretched_as_torch_stretches_them(factor, size):
    frames = latents(600)
    whole = F.interpolate(frames.T[None], scale_factor=factor, mode="linear")[0].T
    stretch = Stretch(factor)
    pieces = [stretch.push(frames[at : at + size], end=at + size >= 600) for at in range(0, 600, size)]
    assert torch.cat(pieces).shape == whole.shape
    assert torch.allclose(torch.cat(pieces), whole, atol=2e-3)  # torch rounds where a frame lies to 2^-13
    assert torch.cat(pieces).sub(whole).abs().mean() < 1e-5


def test_the_reach_is_exact(vocoder):
    frames, at = torch.zeros(36, 64), 18
    other = frames.clone()
    other[at] = 100
    run = [vocoder.run(each, speaker()).numpy().reshape(36, -1) for each in (frames, other)]
    differing = np.flatnonzero((run[0] != run[1]).any(axis=1))
    assert differing[0] >= at - vocoder.right
    assert differing[-1] <= at + vocoder.left
    assert (vocoder.left, vocoder.right) == (13, 13)
    assert differing[0] <= at - vocoder.right + 1, "the margins are wider than they need to be"


def test_work_for_a_chunk_is_the_same_whatever_was_spoken(vocoder, monkeypatch):
    frames_run, kept = [], []
    run = HifiganVocoder.run

    def counting(self, frames, to):
        frames_run.append(len(frames))
        return run(self, frames[:1], to).repeat(len(frames))  # the audio is not looked at

    monkeypatch.setattr(HifiganVocoder, "run", counting)
    speech = vocoder.open(speaker(), 1.0)
    for _ in range(25):
        speech.push(latents(24))
        kept.append([len(speech._held), *(len(each._held) for each in speech._stretches)])
    most = 24 * 4 * 24_000 / 22_050 + vocoder.left + vocoder.right + 2
    assert max(frames_run) <= most
    assert max(frames_run[1:]) - min(frames_run[1:]) <= 1
    assert max(map(max, kept)) <= vocoder.left + vocoder.right + 1


def test_an_utterance_that_is_cut_off_fades_out(vocoder):
    plain = in_chunks(vocoder, latents(), [10, 6])
    speech = vocoder.open(speaker(), 1.0)
    cut = np.concatenate([speech.push(latents()[:10]), speech.push(latents()[10:], end=True, cut=True)])
    assert np.array_equal(cut[:-1200], plain[:-1200])
    assert np.allclose(cut[-1200:], plain[-1200:] * np.linspace(1, 0, 1201)[1:], atol=1e-6)
    assert cut[-1] == 0


def test_audio_shorter_than_its_fade():
    assert fade_out(np.ones(3, np.float32), 10).tolist() == pytest.approx([2 / 3, 1 / 3, 0])
    assert fade_out(np.empty(0, np.float32), 10).shape == (0,)
