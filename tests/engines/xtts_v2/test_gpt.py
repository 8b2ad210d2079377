"""A step for many utterances is what the library computes for each."""

import numpy as np
import pytest
import torch

from ttsw.adapters.pytorch.kv_cache import PAGE
from ttsw.adapters.pytorch.sampling import SamplingOptions
from ttsw.adapters.xtts.gpt import XttsDecoder, XttsUtterance

GREEDY = SamplingOptions(temperature=1.0, top_k=1, top_p=1.0, repetition_penalty=5.0)
TEXTS = ([5, 6, 7], [9] * 40, [11, 12, 13, 14, 15, 16, 17, 18])


@pytest.fixture
def decoder(adapter):
    return XttsDecoder(adapter._model.gpt, 64)


def voice(seed):
    return torch.randn(1, 32, 64, generator=torch.Generator().manual_seed(seed))


def open_(decoder, number, most=100, how=GREEDY) -> XttsUtterance:
    return decoder.open(voice(number), TEXTS[number], most, how, np.random.default_rng(number))


def step(decoder, utterances):
    results = decoder.step(utterances)
    for utterance, made in zip(utterances, results, strict=True):
        if made is not None:
            utterance.accept(made)
    return results


@torch.inference_mode()
def by_library(library, number, tokens):
    """Latents and logits of all positions of the audio, computed at once and without a cache."""
    gpt = library.gpt
    library.gpt.compute_embeddings(voice(number), torch.tensor([TEXTS[number]]))
    codes = torch.tensor([[gpt.start_audio_token, *tokens]])
    audio = gpt.mel_embedding(codes) + gpt.mel_pos_embedding(codes)
    x = torch.cat([gpt.gpt_inference.cached_prefix_emb, audio], dim=1)
    hidden = gpt.gpt(inputs_embeds=x, use_cache=False).last_hidden_state[0, -codes.shape[1] :]
    latents = gpt.final_norm(hidden)
    return latents, gpt.mel_head(latents)


def test_rows_of_different_lengths_are_what_the_library_computes(decoder, library):
    rows = [open_(decoder, number) for number in range(3)]
    made = {row: [] for row in rows}
    while any(row.count < 12 for row in rows):
        going = [row for row in rows if row.count < 12]
        for row, result in zip(going, step(decoder, going), strict=True):
            made[row] += [result] * (result is not None)
    for number, row in enumerate(rows):
        latents, logits = by_library(library, number, row.tokens[:-1])
        assert torch.allclose(torch.cat([each.latent for each in made[row]]), latents, atol=1e-5)
        assert np.allclose(np.stack([each.logits for each in made[row]]), logits, atol=1e-5)
        assert torch.equal(row.take(), torch.cat([each.latent for each in made[row]]))
        decoder.close(row)
    assert decoder.pages.in_use == 0


def test_greedy_tokens_are_those_of_the_librarys_generate(decoder, library):
    rows = [open_(decoder, number) for number in range(3)]
    while not all(row.done for row in rows):
        step(decoder, [row for row in rows if not row.done])
    for number, row in enumerate(rows):
        expected = library.gpt.generate(
            voice(number), torch.tensor([TEXTS[number]]), do_sample=False, num_beams=1, repetition_penalty=5.0
        )
        assert row.tokens == expected[0].tolist()
        assert row.count == decoder.most == 24


def test_one_begins_at_a_time_and_those_under_way_go_on(decoder):
    old, *new = (open_(decoder, number) for number in range(3))
    step(decoder, [old])
    assert [made is not None for made in step(decoder, [old, *new])] == [True, True, False]
    assert [made is not None for made in step(decoder, [old, *new])] == [True, True, True]
    assert (old.count, new[0].count, new[1].count) == (3, 2, 1)


def test_the_bound_is_exact(decoder):
    for most in (1, 5, 24, 25, 100):
        row = open_(decoder, 0, most)
        while not row.done:
            step(decoder, [row])
        assert (row.count, row.stopped) == (min(most, 24), False)
        assert row.take().shape == (min(most, 24), 64)
        decoder.close(row)


def test_the_token_that_ends_an_utterance_ends_it(decoder):
    row = open_(decoder, 0)
    made = decoder.step([row])[0]
    row.accept(made._replace(logits=np.where(np.arange(1026) == 1025, 100, 0).astype(np.float32)))
    assert (row.tokens, row.stopped, row.done) == ([1025], True, True)
    assert row.take().shape == (1, 64), "the library's stream speaks its latent too"


def test_pages_come_as_needed_and_go_in_the_end(decoder):
    row, other = open_(decoder, 0), open_(decoder, 1)
    start = 32 + len(TEXTS[0]) + 3
    for count in range(1, 24):
        step(decoder, [row])
        assert len(row.pages) == -(-(start + count - 1) // PAGE)
    step(decoder, [other])  # more than there were
    assert decoder.pages.memory.shape[1] > 2
    decoder.close(row)
    decoder.close(row)
    assert decoder.pages.in_use == len(other.pages)
    decoder.close(other)
    assert decoder.pages.in_use == 0


def test_a_closed_utterance_gets_no_more(decoder):
    row, other = open_(decoder, 0), open_(decoder, 1)
    step(decoder, [row])
    step(decoder, [other])
    decoder.close(row)
    assert decoder.step([row, other])[0] is None
    assert decoder.step([row]) == [None]
    fresh = open_(decoder, 2)
    decoder.close(fresh)
    assert decoder.step([fresh]) == [None]
    assert decoder.pages.in_use == len(other.pages)


@pytest.mark.parametrize("held", [False, True])
def test_what_is_anothers_harms_nobody(decoder, held):
    alone = [open_(decoder, number) for number in range(2)]
    for _ in range(5):
        step(decoder, alone)
    for row in alone:
        decoder.close(row)
    broken = [open_(decoder, number) for number in range(2)]
    for _ in range(2):
        step(decoder, broken)
    with torch.inference_mode():
        decoder.pages.memory.fill_(torch.nan)
    if not held:
        for row in broken:
            decoder.close(row)
    again = [open_(decoder, number) for number in range(2)]  # one has more pages than the other
    for _ in range(5):
        step(decoder, again)
    assert [row.tokens for row in again] == [row.tokens for row in alone]


def test_a_step_that_fails_has_changed_nothing(decoder, monkeypatch):
    row, twin = open_(decoder, 0), open_(decoder, 0)
    step(decoder, [row])
    step(decoder, [twin])
    with monkeypatch.context() as patch:
        patch.setattr(decoder, "_run", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            decoder.step([row])
    assert (row.count, row.length) == (twin.count, twin.length)
    step(decoder, [row])
    step(decoder, [twin])
    assert row.tokens == twin.tokens
