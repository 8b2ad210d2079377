"""A step for many utterances is what the library computes for each, and so are the tokens that are drawn."""

from functools import partial

import numpy as np
import pytest
import torch
from cosyvoice.utils.common import ras_sampling

from tests.engines.cosyvoice2.library import draws_of
from ttsw.adapters.cosyvoice2.language_model import TRIALS, CosyVoiceSampling, GeneratedTokens, TokenGenerator, draw
from ttsw.adapters.pytorch.kv_cache import PAGE

PROMPTS = ([], [5, 6, 7], [9] * 30)
TEXTS = ([11, 12, 13], [14] * 9, [21, 22, 23, 24, 25])
SPOKEN = (0, 40, 7)
END = 81
HOW = CosyVoiceSampling()


@pytest.fixture
def speaker(model):
    return TokenGenerator(model.llm, 64)


def spoken(number):
    return torch.randint(0, END, (SPOKEN[number],), generator=torch.Generator().manual_seed(number))


def open_(speaker, number, how=HOW):
    return speaker.open(PROMPTS[number], TEXTS[number], spoken(number), how, np.random.default_rng(number))


def step(speaker, rows):
    results = speaker.step(rows)
    for row, made in zip(rows, results, strict=True):
        if made is not None:
            row.accept(made)
    return results


@torch.inference_mode()
def at_once(library, row):
    """Logits of all positions, computed by transformers' Qwen2 at once and without a cache."""
    llm = library.llm
    x = torch.cat([row.prefix, llm.speech_embedding(torch.tensor(row.drawn[:-1], dtype=torch.int64))])
    hidden = llm.llm.model(inputs_embeds=x[None], output_hidden_states=True, use_cache=False).hidden_states[-1]
    return llm.llm_decoder(hidden[0, len(row.prefix) - 1 :]).numpy()


@pytest.mark.parametrize("together", [True, False])
def test_steps_are_what_the_library_computes(speaker, library, together):
    rows = [open_(speaker, number) for number in range(3)]
    made = {row: [] for row in rows}
    for group in [rows] if together else [[row] for row in rows]:
        while any(row.count < 40 for row in group):
            going = [row for row in group if row.count < 40 and not row.done]
            if not going:
                break
            for row, result in zip(going, step(speaker, going), strict=True):
                made[row] += [result] * (result is not None)
    for row in rows:
        assert row.count > 5
        assert np.abs(np.stack([each.logits for each in made[row]]) - at_once(library, row)).max() < 1e-4
        speaker.close(row)
    assert speaker.pages.in_use == 0


@pytest.mark.parametrize("number", range(3))
def test_tokens_are_those_that_the_library_draws(speaker, library, number):
    row = open_(speaker, number)
    while not row.done:
        step(speaker, [row])
    library.llm.sampling = partial(ras_sampling, top_p=0.8, top_k=25, win_size=10, tau_r=0.1)
    prompt, text, heard = (
        torch.tensor([each], dtype=torch.int64) for each in (PROMPTS[number], TEXTS[number], spoken(number).tolist())
    )
    with draws_of(np.random.default_rng(number)):
        stream = library.llm.inference(
            text=text,
            text_len=torch.tensor([text.shape[1]]),
            prompt_text=prompt,
            prompt_text_len=torch.tensor([prompt.shape[1]]),
            prompt_speech_token=heard,
            prompt_speech_token_len=torch.tensor([heard.shape[1]]),
            embedding=torch.zeros(0, 192),
            uuid="",
        )
        assert row.tokens == [*stream]
    assert len(row.tokens) >= 2 * len(TEXTS[number])
    assert row.stopped


def logits(**values):
    found = np.full(20, -20, np.float32)
    for name, value in values.items():
        found[int(name[1:])] = value
    return found


def counts(scores, said=(), how=HOW, end=None, number=2000):
    chance = np.random.default_rng(0)
    drawn = [draw(scores, list(said), how, chance, end) for _ in range(number)]
    return np.bincount(drawn, minlength=20) / number


def test_the_likeliest_are_drawn_from():
    scores = logits(t1=np.log(0.5), t2=np.log(0.25), t3=np.log(0.15), t4=np.log(0.1))
    found = counts(scores)
    assert found[4] == 0
    assert found[1:4] == pytest.approx([0.5 / 0.9, 0.25 / 0.9, 0.15 / 0.9], abs=0.04)
    assert counts(scores, how=CosyVoiceSampling(top_k=1))[1] == 1
    assert counts(scores, how=CosyVoiceSampling(top_p=0.01))[1] == 1
    assert counts(scores, how=CosyVoiceSampling(temperature=0.05))[1] == 1


def test_what_was_said_just_before_is_drawn_anew_from_all():
    scores = logits(t1=np.log(0.85), t2=np.log(0.15))
    assert counts(scores)[1] == 1
    assert counts(scores, said=[1])[1] == pytest.approx(0.85, abs=0.03)
    assert counts(scores, said=[1, *range(5, 15)])[1] == 1, "that was long ago"
    assert counts(scores, said=[1], how=CosyVoiceSampling(share=0.2))[1] == 1, "once isn't often"


def test_the_end_is_not_drawn_too_early():
    assert counts(logits(t1=0, t7=0), end=7)[7] == 0
    assert counts(logits(t1=0, t7=0))[7] == pytest.approx(0.5, abs=0.05)
    chance = np.random.default_rng(0)
    assert draw(logits(t1=-15, t7=20), [], CosyVoiceSampling(), chance, 7) != 7, "where the library gives up"
    assert TRIALS == 100


def test_what_is_no_number_is_told():
    with pytest.raises(FloatingPointError):
        draw(logits(t1=np.nan), [], CosyVoiceSampling(), np.random.default_rng(0), None)


def test_bounds_are_the_librarys(speaker):
    row = open_(speaker, 0)
    assert (row.least, row.most) == (6, 60)
    never, always = (np.where(np.arange(84) == END, value, 0).astype(np.float32) for value in (-50, 5))
    for count in range(60):
        assert not row.done
        row.accept(GeneratedTokens(always if count < 6 else never, count + 1))
    assert (row.done, row.stopped, len(row.tokens)) == (True, False, 60)
    row = open_(speaker, 0)
    while not row.done:
        row.accept(GeneratedTokens(always, 1))
    assert (row.stopped, len(row.tokens)) == (True, 6)


def test_tokens_of_the_models_own_are_not_spoken(speaker):
    row = open_(speaker, 0)
    row.accept(GeneratedTokens(np.where(np.arange(84) == 82, 50, 0).astype(np.float32), 1))
    assert (row.drawn, row.tokens, row.done) == ([82], [], False)


def test_one_begins_at_a_time_and_those_under_way_go_on(speaker):
    old, *new = (open_(speaker, number) for number in range(3))
    step(speaker, [old])
    assert [made is not None for made in step(speaker, [old, *new])] == [True, True, False]
    assert [made is not None for made in step(speaker, [old, *new])] == [True, True, True]


def test_pages_come_as_needed_and_go_in_the_end(speaker):
    rows = [open_(speaker, number) for number in range(3)]
    for _ in range(5):
        step(speaker, rows)
    assert [len(row.pages) for row in rows] == [-(-row.length // PAGE) for row in rows]
    for row in rows:
        speaker.close(row)
    assert speaker.pages.in_use == 0
    assert speaker.step(rows) == [None] * 3


def test_a_step_that_fails_has_changed_nothing(speaker, monkeypatch):
    row, twin = open_(speaker, 1), open_(speaker, 1)
    step(speaker, [row])
    step(speaker, [twin])
    with monkeypatch.context() as patch:
        patch.setattr(speaker, "_logits", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            speaker.step([row])
    for _ in range(3):
        step(speaker, [row])
        step(speaker, [twin])
    assert row.drawn == twin.drawn
