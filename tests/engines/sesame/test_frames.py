"""A step for many utterances is what the library computes for each."""

import numpy as np
import pytest
import torch

from tests.engines.sesame.making import BOOKS, GREEDY, TEXTS, ask, finish, open_, step
from ttsw.adapters.pytorch.kv_cache import PAGE
from ttsw.adapters.sesame.checkpoint import load_model
from ttsw.adapters.sesame.frames import CsmDecoder
from ttsw.adapters.sesame.loras import Loras
from ttsw.adapters.sesame.sampling import CsmSampling, SamplingDefaults


@pytest.fixture(scope="module")
def prompts(reader):
    return [reader.encode(text, 0) for text in TEXTS]


@pytest.fixture(scope="module")
def expected(library, prompts):
    return [ask(library, tokens) for tokens in prompts]


def test_greedy_frames_are_those_of_the_librarys_generate(decoder, prompts, expected):
    for tokens, frames in zip(prompts, expected, strict=True):
        row = open_(decoder, tokens)
        assert np.array_equal(finish(decoder, [row])[0], frames)
        assert row.stopped, "the tiny model finds its end"
        assert np.array_equal(row.frames, frames[:-1])
        decoder.close(row)
    assert decoder.pages.in_use == 0


def test_so_they_are_beside_others_that_come_and_go(decoder, prompts, expected):
    rows = [open_(decoder, tokens) for tokens in prompts]
    for count in range(1, 4):  # each two steps after the one before
        for _ in range(2):
            step(decoder, [row for row in rows[:count] if not row.done])
    for found, frames in zip(finish(decoder, rows), expected, strict=True):
        assert np.array_equal(found, frames)


@pytest.mark.parametrize("piece", [1, 7, 46, 47, 48])
def test_a_prompt_is_read_in_pieces(decoder, prompts, expected, piece):
    decoder._piece = piece
    row, other = open_(decoder, prompts[0]), open_(decoder, prompts[1])
    pieces = -(-len(prompts[0]) // piece)
    for count in range(1, pieces):
        step(decoder, [row])
        assert (row.length, row.count, row.reading) == (count * piece, 0, True)
    step(decoder, [row])
    assert (row.length, row.count, row.reading) == (len(prompts[0]), 1, False)
    found = finish(decoder, [row, other])
    assert np.array_equal(found[0], expected[0])
    assert np.array_equal(found[1], expected[1])


def test_one_reads_at_a_time_and_those_under_way_go_on(decoder, prompts):
    old, *new = (open_(decoder, tokens) for tokens in prompts)
    step(decoder, [old])
    assert [made is not None for made in step(decoder, [old, *new])] == [True, True, False]
    assert [made is not None for made in step(decoder, [old, *new])] == [True, True, True]
    assert (old.count, new[0].count, new[1].count) == (3, 2, 1)


def test_what_is_drawn_is_the_utterances_own_business(decoder, prompts):
    draws = [
        SamplingDefaults(CsmSampling(0.9, 50), CsmSampling(0.9, 50)),
        SamplingDefaults(CsmSampling(1.5, 0), CsmSampling(0.7, 5)),
        GREEDY,
    ]

    def rows():
        return [
            open_(decoder, tokens, 20, how, seed) for seed, (tokens, how) in enumerate(zip(prompts, draws, strict=True))
        ]

    alone = [finish(decoder, [row])[0] for row in rows()]
    together = finish(decoder, rows())
    assert all(np.array_equal(*each) for each in zip(alone, together, strict=True))
    assert not np.array_equal(finish(decoder, [open_(decoder, prompts[0], 20, draws[0], 7)])[0], alone[0])


def test_no_code_is_drawn_that_the_codec_lacks(decoder, prompts, monkeypatch):
    with torch.inference_mode():
        head = decoder._head.clone()
        head[64:] = 100 * decoder._head[1]
    monkeypatch.setattr(decoder, "_head", head)
    frames = finish(
        decoder, [open_(decoder, prompts[0], 10, SamplingDefaults(CsmSampling(2.0, 0), CsmSampling(2.0, 0)))]
    )[0]
    assert frames.max() < 64


def test_the_bound_is_exact(decoder, prompts, expected):
    own = len(expected[0])
    for most in (1, 5, own - 1, own):
        row = open_(decoder, prompts[0], most)
        finish(decoder, [row])
        assert (row.count, row.stopped, row.cut) == (most, most == own, most < own)
        assert row.take().shape == (most - row.stopped, BOOKS)
        decoder.close(row)


def test_the_models_own_limit_of_positions_holds(decoder, prompts):
    decoder.most = len(prompts[0]) + 4
    row = open_(decoder, prompts[0])
    finish(decoder, [row])
    assert (row.count, row.length) == (4, len(prompts[0]) + 3)


def test_the_frame_that_ends_an_utterance_is_as_generate_has_it(decoder, prompts):
    row = open_(decoder, prompts[0])
    made = decoder.step([row])[0]
    almost = np.zeros(BOOKS, np.int16)
    almost[-2] = 1
    row.accept(made._replace(codes=almost))
    assert not row.stopped
    almost[-2:] = 0, 1  # it doesn't look at the last code
    row.accept(made._replace(codes=almost))
    assert row.stopped
    assert row.take().shape == (1, BOOKS), "the last frame isn't heard"


def test_pages_come_as_needed_and_go_in_the_end(decoder, prompts):
    row, other = open_(decoder, prompts[0]), open_(decoder, prompts[2])
    for count in range(12):
        step(decoder, [row])
        assert len(row.pages) == -(-(len(prompts[0]) + count) // PAGE)
    step(decoder, [other])  # more than there were
    assert decoder.pages.memory.shape[1] > 2
    decoder.close(row)
    decoder.close(row)
    assert decoder.pages.in_use == len(other.pages) > 0
    decoder.close(other)
    assert decoder.pages.in_use == 0


def test_a_closed_utterance_gets_no_more(decoder, prompts):
    row, other = open_(decoder, prompts[0]), open_(decoder, prompts[1])
    step(decoder, [row])
    step(decoder, [other])
    decoder.close(row)
    assert decoder.step([row, other])[0] is None
    assert decoder.step([row]) == [None]
    fresh = open_(decoder, prompts[1])
    decoder.close(fresh)
    assert decoder.step([fresh]) == [None]


def test_what_is_anothers_harms_nobody(decoder, prompts, expected):
    broken = [open_(decoder, tokens) for tokens in prompts[:2]]
    for _ in range(2):
        step(decoder, broken)
    with torch.inference_mode():
        decoder.pages.memory.fill_(torch.nan)
        decoder._depth._memory.fill_(torch.nan)
    for row in broken:
        decoder.close(row)
    again = finish(decoder, [open_(decoder, tokens) for tokens in prompts])
    assert all(np.array_equal(*each) for each in zip(again, expected, strict=True))


def test_an_output_that_is_not_finite_is_an_error_of_its_own_utterance(decoder, prompts, expected):
    row, other = open_(decoder, prompts[0]), open_(decoder, prompts[2])
    step(decoder, [row, other])
    step(decoder, [row, other])
    row.frame = None
    with torch.inference_mode():
        row.prompt[:] = torch.inf
    row.length = 0
    made = decoder.step([row, other])
    with pytest.raises(FloatingPointError, match="not finite"):
        row.accept(made[0])
    other.accept(made[1])
    assert np.array_equal(np.stack(other._frames), expected[2][:2])


def test_a_step_that_fails_has_changed_nothing(decoder, prompts, monkeypatch):
    row, twin = (
        open_(decoder, prompts[0], 20, SamplingDefaults(CsmSampling(1.0, 0), CsmSampling(1.0, 0))) for _ in range(2)
    )
    step(decoder, [row])
    step(decoder, [twin])
    with monkeypatch.context() as patch:
        patch.setattr(decoder._depth, "run", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            decoder.step([row])
    assert np.array_equal(*finish(decoder, [row, twin]))


def test_16_bits_are_16_bits_all_the_way(pack, prompts):
    model = load_model(pack, torch.device("cpu"), torch.bfloat16)
    assert model.codec_model.dtype == torch.float32
    loras = Loras(model.device, model.kind)
    number = loras.add({"lm_head": (torch.randn(2, 64), torch.randn(2, 67))})
    decoder = CsmDecoder(model, loras, 64)
    rows = [open_(decoder, prompts[0], 5), open_(decoder, prompts[1], 5, lora=number)]
    frames = finish(decoder, rows)
    assert decoder.pages.memory.dtype == decoder._depth._memory.dtype == torch.bfloat16
    assert [len(each) for each in frames] == [5, 5]
