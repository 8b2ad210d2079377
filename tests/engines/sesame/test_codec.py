"""Audio in pieces is what the library makes of the whole, at any cut."""

import warnings

import numpy as np
import pytest
import soxr
import torch

from tests.engines.sesame.making import BOOKS
from ttsw.adapters.pytorch.audio import fade_out
from ttsw.adapters.reference_clip import ReferenceClip
from ttsw.adapters.sesame import random_pack
from ttsw.adapters.sesame.codec import Codec

FRAME = 1920


@pytest.fixture(scope="module")
def codec(model):
    return Codec(model.codec_model)


def frames(count, seed=0):
    return torch.randint(0, 64, (count, BOOKS), generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def by_library(library, codes):
    return library.codec_model.decode(codes.T[None]).audio_values[0, 0].numpy()


def pieces(sizes):
    at = 0
    for size in sizes:
        yield slice(at, at + size)
        at += size


@pytest.mark.parametrize("sizes", [[1] * 60, [2] * 30, [5] * 12, [1, 2, 4, 6, 10, 7, 30], [60], [59, 1]])
def test_audio_in_pieces_is_the_whole(codec, library, sizes):
    codes = frames(60)  # three times what the codec's transformer sees of the past
    whole = by_library(library, codes)
    speech = codec.open()
    made = [speech.push(codes[piece]) for piece in pieces(sizes)]
    assert [len(each) for each in made] == [FRAME * size for size in sizes]
    assert np.abs(np.concatenate(made) - whole).max() < 1e-4
    assert whole.std() > 0.02, "the tiny model is heard"


def test_streams_are_each_others_business_not(codec, library):
    counts = (20, 7, 30)
    wanted = [by_library(library, frames(count, seed)) for seed, count in enumerate(counts)]
    streams = [(codec.open(), frames(count, seed), []) for seed, count in enumerate(counts)]
    for at in range(0, 30, 2):
        for speech, codes, made in streams:
            made.append(speech.push(codes[at : at + 2]))
    for (_, _, made), whole in zip(streams, wanted, strict=True):
        assert np.abs(np.concatenate(made) - whole).max() < 1e-4


def test_nothing_grows_with_what_was_spoken(codec):
    speech, held = codec.open(), []
    for _ in range(8):
        speech.push(frames(20))
        cached = [each for layer in speech._cache.layers for each in (layer.keys, layer.values)]
        held.append(sum(each.numel() for each in (*speech._held.values(), *cached)))
    assert len(set(held[1:])) == 1


def test_no_frames_are_no_audio(codec):
    assert len(codec.open().push(torch.empty(0, BOOKS, dtype=torch.long))) == 0


@pytest.mark.parametrize("rate", [24_000, 16_000, 44_100])
def test_codes_of_a_recording_are_the_librarys(codec, library, rate):
    samples = random_pack.voice(1.3, rate=rate)
    codes = codec.encode(ReferenceClip(samples, rate))
    with torch.inference_mode():
        audio = torch.from_numpy(soxr.resample(samples, rate, 24_000))
        wanted = library.codec_model.encode(audio[None, None]).audio_codes[0].T
    assert torch.equal(codes, wanted)
    assert codes.shape == (17, BOOKS)


def test_a_fade_ends_in_silence():
    audio = fade_out(np.ones(10, np.float32), 4)
    assert audio.tolist() == [1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0]
    assert fade_out(np.ones(2, np.float32), 4).tolist() == [0.5, 0]


def test_the_librarys_own_cache_has_seams(library):
    """Why there is a decoder of our own; when this fails, it may go."""
    codes = frames(20)
    whole, past, made = by_library(library, codes), None, []
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for at in range(0, 20, 5):
            out = library.codec_model.decode(codes[at : at + 5].T[None], decoder_past_key_values=past, use_cache=True)
            past = out.decoder_past_key_values
            made.append(out.audio_values[0, 0].numpy())
    assert np.abs(np.concatenate(made) - whole).max() > 1e-2
