"""Audio that comes piece by piece is what the library makes of all of it at once, where it can be."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - as everywhere

from tests.engines.cosyvoice2.library import audio, noise_of
from ttsw.adapters.cosyvoice2.vocoder import EARLY, HiftStream, HiftVocoder
from ttsw.adapters.pytorch.audio import Stretch, fade_out

COUNT = 130
ROUNDING = 5e-4
"""The library adds up the phase as float32, and is off by so much after 3 s; see the test of that."""


@pytest.fixture(scope="module")
def vocoder(adapter):
    return adapter._vocoder


def frames(count=COUNT, seed=0):
    noise = torch.randn(80, count + 4, generator=torch.Generator().manual_seed(seed))
    return F.avg_pool1d(noise[None], 5, 1)[0].T * 3 - 3


def in_pieces(vocoder, all_frames, sizes, speed=1.0):
    speech, pieces, at = vocoder.open(np.random.default_rng(5), speed), [], 0
    for size in sizes:
        pieces.append(speech.push(all_frames[at : at + size], end=at + size >= len(all_frames)))
        at += size
    assert at >= len(all_frames)
    return pieces


@pytest.fixture(scope="module")
def whole(library):
    return audio(library, frames(), np.random.default_rng(5))


def test_at_once_it_is_the_librarys(vocoder, whole):
    (found,) = in_pieces(vocoder, frames(), [COUNT])
    assert found.dtype == np.float32
    assert found.shape == whole.shape == (COUNT * 480,)
    assert whole.std() > 0.05
    assert np.abs(found - whole).max() < ROUNDING


@pytest.mark.parametrize("sizes", [[26, 50, 54], [74, 56], [40] * 4, [26, 4, 0, 100]])
def test_all_but_the_first_seam_is_the_whole(vocoder, whole, sizes):
    pieces = in_pieces(vocoder, frames(), sizes)
    off = np.abs(np.concatenate(pieces) - whole).reshape(-1, 480).max(axis=1)
    seam = sizes[0] - EARLY
    assert len(pieces[0]) == seam * 480
    apart = np.r_[0 : seam - vocoder.right + EARLY, seam + EARLY : COUNT]
    assert off[apart].max() < ROUNDING


def test_the_first_seam_is_smooth(vocoder, whole):
    """Neither a step nor a gap: there it changes from sample to sample as the whole does."""
    found = np.concatenate(in_pieces(vocoder, frames(), [26, 50, 54]))
    at = (26 - EARLY) * 480
    steps = [np.abs(np.diff(each[at - 4 : at + 4])).max() for each in (found, whole)]
    assert steps[0] < max(2 * steps[1], np.quantile(np.abs(np.diff(whole)), 0.99))
    off = (found - whole)[at - 4800 : at + EARLY * 480]
    assert off.std() < 0.3 * whole.std()


def test_the_reach_is_exact(vocoder, library):
    at, count = 40, 81
    first = frames(count)
    other = first.clone()
    other[at] += 2
    source = torch.zeros(1, 1, count * 480)
    run = [vocoder.hift.decode(x=each.T[None], s=source)[0].numpy().reshape(count, -1) for each in (first, other)]
    differing = np.flatnonzero((run[0] != run[1]).any(axis=1))
    late = vocoder.right - vocoder.bent - 1
    assert at - late <= differing[0]
    assert differing[-1] <= at + vocoder.left
    changed = source.clone()
    changed[0, 0, at * 480 : (at + 1) * 480] = 1
    run[1] = vocoder.hift.decode(x=first.T[None], s=changed)[0].numpy().reshape(count, -1)
    also = np.flatnonzero((run[0] != run[1]).any(axis=1))
    assert at - late <= also[0]
    assert also[-1] <= at + vocoder.left
    assert min(differing[0], also[0]) <= at - late + 1, "the margins are wider than they need to be"
    assert max(differing[-1], also[-1]) >= at + vocoder.left - 1


def test_the_phase_goes_on_without_end(vocoder, library):
    """What differs from the library over time is its rounding: with its phase added up as float64, nothing does."""
    long = frames(500)
    with noise_of(np.random.default_rng(5)), torch.inference_mode():
        pitch = library.hift.f0_predictor(long.T[None])
        source, _, _ = library.hift.m_source.double()(library.hift.f0_upsamp(pitch[:, None].double()).transpose(1, 2))
    library.hift.m_source.float()
    made = vocoder.open(np.random.default_rng(5))._source.push(long, 0, end=True)
    assert (made - source[0, :, 0].float()).abs().max() < 1e-3
    assert source.std() > 0.01


def test_two_share_no_chance(vocoder):
    one, other = (vocoder.open(np.random.default_rng(5)) for _ in range(2))
    torch.manual_seed(3)
    before, found = torch.random.get_rng_state(), []
    found.extend(
        [each.push(frames()[at : at + 26], end=at + 26 >= COUNT) for each in (one, other)] for at in range(0, COUNT, 26)
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(np.array_equal(*pair) for pair in found)
    alone = in_pieces(vocoder, frames(), [26] * 5)
    assert np.array_equal(np.concatenate([pair[0] for pair in found]), np.concatenate(alone))


def test_work_for_a_piece_is_the_same_whatever_was_said(vocoder, monkeypatch):
    sizes, decode = [], vocoder.hift.decode
    monkeypatch.setattr(vocoder.hift, "decode", lambda x, s: sizes.append((x.shape[2], s.shape[2])) or decode(x=x, s=s))
    speech = vocoder.open(np.random.default_rng(5))
    for _ in range(12):
        speech.push(frames(50))
    assert sizes[3:] == [sizes[3]] * len(sizes[3:])
    assert sizes[3] == (50 + vocoder.left + vocoder.right, 480 * (50 + vocoder.left + vocoder.right))
    assert len(speech._source._noise) <= 480 * 10


@pytest.mark.parametrize("speed", [0.5, 0.8, 1.25, 2.0])
def test_tempo_is_the_librarys(vocoder, library, speed):
    """As torch stretches by a factor. The library asks for a number of frames, which is off by less than one in all."""
    stretched = F.interpolate(frames().T[None], scale_factor=1 / speed, mode="linear")[0].T
    assert len(stretched) == int(COUNT / speed)
    for size in (1, 26, COUNT):
        stretch = Stretch(1 / speed)
        parts = torch.cat([
            stretch.push(frames()[at : at + size], end=at + size >= COUNT) for at in range(0, COUNT, size)
        ])
        assert parts.shape == stretched.shape
        assert (parts - stretched).abs().max() < 1e-3
    found = np.concatenate(in_pieces(vocoder, frames(), [26, 50, 54], speed))
    assert len(found) == int(COUNT / speed) * 480


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9])
def test_short_ones(vocoder, library, count):
    whole = audio(library, frames(count), np.random.default_rng(5))
    for sizes in ([count], [1] * count, [count, 0]):
        speech = vocoder.open(np.random.default_rng(5))
        found, at = [], 0
        for number, size in enumerate(sizes):
            found.append(speech.push(frames(count)[at : at + size], end=number == len(sizes) - 1))
            at += size
        assert np.concatenate(found).shape == whole.shape
        if sizes == [count]:
            assert np.abs(found[0] - whole).max() < ROUNDING


def test_an_utterance_that_is_cut_off_fades_out(vocoder):
    plain = np.concatenate(in_pieces(vocoder, frames(), [COUNT]))
    cut = vocoder.open(np.random.default_rng(5)).push(frames(), end=True, cut=True)
    assert np.array_equal(cut[:-1200], plain[:-1200])
    assert cut[-1] == 0
    assert fade_out(np.empty(0, np.float32), 10).shape == (0,)


def test_nothing_is_nothing(vocoder):
    speech = HiftStream(vocoder, np.random.default_rng(0), None)
    assert len(speech.push(torch.zeros(0, 80), end=True)) == 0
    assert HiftVocoder(vocoder.hift).sample_rate == 24_000
