"""Frames that come piece by piece are those that the library's stream would give, computed at once."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from tests.engines.cosyvoice2.library import spectrogram
from ttsw.adapters.cosyvoice2 import estimator as estimator_module
from ttsw.adapters.cosyvoice2 import flow as flow_module
from ttsw.adapters.cosyvoice2 import stream as stream_module
from ttsw.adapters.cosyvoice2.adapter import next_goal
from ttsw.adapters.cosyvoice2.flow import Flow
from ttsw.adapters.cosyvoice2.reference_voice import CosyVoiceReference


@pytest.fixture
def flow(model):
    return Flow(model, 3)


def tokens(count, seed=0):
    return torch.randint(0, 81, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def shorter(voice, count):
    return CosyVoiceReference(voice.tokens[:count].clone(), voice.mel[: 2 * count], voice.speaker)


def in_pieces(flow, voice, all_tokens, goals):
    """Frames of pieces that end after so many tokens; the last one is the end."""
    made = flow.open(voice)
    try:
        return [flow.push(made, all_tokens[: goal + 3], end=goal >= len(all_tokens)) for goal in goals]
    finally:
        flow.close(made)


def goals_of(voice, count):
    found = [0]
    while found[-1] < count:
        found.append(next_goal(found[-1], len(voice.tokens), 25))
    return [*found[1:-1], count]


@pytest.mark.parametrize("prompt", [75, 28, 3, 0])
def test_pieces_are_what_the_librarys_stream_gives(flow, voice, library, prompt):
    voice, said = shorter(voice, prompt), tokens(80)
    whole = spectrogram(library, voice, said, streaming=True)
    goals = [*list(range(25 - prompt % 25, 80, 25)), 80]
    pieces = in_pieces(flow, voice, said, goals)
    assert [len(each) for each in pieces] == [2 * n for n in np.diff([0, *goals])]
    assert whole.std() > 0.5
    assert (torch.cat(pieces) - whole).abs().max() < 1e-5


def test_a_first_piece_that_ends_early_is_all_that_differs(flow, voice, library):
    said = tokens(90)
    whole = spectrogram(library, voice, said, streaming=True)
    pieces = in_pieces(flow, voice, said, goals_of(voice, 90))
    assert len(pieces[0]) == 26
    found = torch.cat(pieces)
    assert (found - whole)[26:].abs().max() < 1e-5
    early = spectrogram(library, voice, said[:16], streaming=True, end=False)
    assert (pieces[0] - early).abs().max() < 1e-5, "it is what the library gives for as many tokens"
    assert (pieces[0] - whole[:26]).abs().mean() < 0.05


def test_the_librarys_own_stream_and_one_shot_are_as_near_as_stated(flow, voice, library):
    """The library's stream ends with a piece that sees everything; its one-shot is all so."""
    said = tokens(90)
    found = torch.cat(in_pieces(flow, voice, said, goals_of(voice, 90)))
    whole = spectrogram(library, voice, said, streaming=False)
    assert 1e-3 < (found - whole).abs().mean() < 0.05


def test_short_ones(flow, voice, library):
    voice = shorter(voice, 28)
    for count in (1, 3, 4, 17):
        said = tokens(count)
        whole = spectrogram(library, voice, said, streaming=True)
        assert (torch.cat(in_pieces(flow, voice, said, goals_of(voice, count))) - whole).abs().max() < 0.2
        (once,) = in_pieces(flow, voice, said, [count])
        assert (once - whole).abs().max() < 1e-5
    made = flow.open(voice)
    assert len(flow.push(made, [], end=True)) == len(flow.push(made, [1, 2], end=False)) == 0
    flow.close(made)


def test_rows_that_differ_in_all_share_steps(flow, voice, monkeypatch):
    voices = [shorter(voice, count) for count in (75, 40, 2)]
    said = [tokens(count, count) for count in (60, 90, 33)]
    alone = [torch.cat(in_pieces(flow, v, s, goals_of(v, len(s)))) for v, s in zip(voices, said, strict=True)]
    rows = []
    step = flow._estimator.step
    monkeypatch.setattr(flow._batch, "_step", lambda streams: rows.append(len(streams)) or step(streams))
    with ThreadPoolExecutor(3) as threads:
        together = [*threads.map(lambda v, s: torch.cat(in_pieces(flow, v, s, goals_of(v, len(s)))), voices, said)]
    assert max(rows) > 1
    for one, other in zip(alone, together, strict=True):
        assert one.shape == other.shape
        assert (one - other).abs().max() < 1e-5


def test_a_recording_is_read_once(flow, voice, monkeypatch):
    read, reads = Flow._read, []
    monkeypatch.setattr(Flow, "_read", lambda self, prompt: reads.append(prompt) or read(self, prompt))
    with ThreadPoolExecutor(3) as threads:
        for made in threads.map(flow.open, [voice] * 3):
            flow.close(made)
    assert len(reads) == 1
    assert flow.pages.in_use == len(reads[0].stream.pages) == 2
    monkeypatch.setattr(flow_module, "KEPT", 1)
    other = flow.open(shorter(voice, 70))
    assert len(reads) == 2
    assert flow.pages.in_use == 2, "what was not in use has gone"
    third = flow.open(shorter(voice, 60))
    assert flow.pages.in_use == 4, "what is in use stays"
    flow.close(other)
    flow.close(third)
    assert flow.pages.in_use == 2


def test_a_recording_that_fails_is_read_anew(flow, voice, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(flow._encoder, "run", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            flow.open(voice)
    assert flow.pages.in_use == 0
    flow.close(flow.open(voice))


def test_work_for_a_piece_is_the_same_whatever_was_said(flow, voice, monkeypatch):
    seen, frames = [], []
    real = torch.nn.functional.scaled_dot_product_attention

    def attend(query, key, value, **more):
        seen.append(key.shape[2])
        frames.append(query.shape[2])
        return real(query, key, value, **more)

    monkeypatch.setattr(estimator_module.F, "scaled_dot_product_attention", attend)
    said, made, most, pages = tokens(280), flow.open(voice), [], []
    for goal in range(25, 280, 25):
        seen.clear()
        frames.clear()
        flow.push(made, said[: goal + 3], end=False)
        most.append((max(seen), max(frames)))
        pages.append(len(made.stream.pages))
    flow.close(made)
    assert most[6:] == [most[6]] * len(most[6:])
    assert max(pages) <= stream_module.RECENT + 2
    assert most[-1] == ((3 + stream_module.RECENT + 1) * 50, 50)


def test_what_is_forgotten_makes_little_difference(flow, voice, library, monkeypatch):
    said = tokens(180)
    whole = spectrogram(library, voice, said, streaming=True)
    goals = [*range(25, 180, 25), 180]
    found = torch.cat(in_pieces(flow, voice, said, goals))
    assert (found - whole)[: 50 * (stream_module.RECENT + 1)].abs().max() < 1e-5, "as long as all is remembered"
    assert (found - whole).abs().mean() < 0.02
    monkeypatch.setattr(stream_module, "RECENT", 100)
    assert (torch.cat(in_pieces(flow, voice, said, goals)) - whole).abs().max() < 1e-5, "it is all that differs"


def test_a_step_that_fails_is_made_again(flow, voice, monkeypatch):
    said = tokens(60)
    whole = torch.cat(in_pieces(flow, voice, said, [25, 60]))
    run, fails = flow._estimator._run, iter([True, False, False, True])

    def sometimes(*args):
        if next(fails, False):
            raise RuntimeError("broken")
        return run(*args)

    made = flow.open(voice)
    monkeypatch.setattr(flow._estimator, "_run", sometimes)
    pieces = []
    while len(pieces) < 2:
        try:
            pieces.append(flow.push(made, said[: 28 if not pieces else 60], end=bool(pieces)))
        except RuntimeError:
            continue
    flow.close(made)
    assert (torch.cat(pieces) - whole).abs().max() < 1e-5


def test_what_is_anothers_harms_nobody(flow, voice):
    said = tokens(60)
    whole = torch.cat(in_pieces(flow, voice, said, [25, 60]))
    other = flow.open(shorter(voice, 2))
    flow.push(other, said[:40], end=False)
    with torch.inference_mode():
        held = [page for page in range(flow.pages.memory.shape[1]) if page not in _prompt_pages(flow)]
        flow.pages.memory[:, held] = torch.nan
    found = torch.cat(in_pieces(flow, voice, said, [25, 60]))
    flow.close(other)
    assert (found - whole).abs().max() < 1e-6


def _prompt_pages(flow):
    return {page for prompt in flow._prompts.values() for page in prompt.stream.pages}


def test_a_closed_stream_gets_no_more(flow, voice):
    made = flow.open(voice)
    flow.push(made, tokens(28), end=False)
    flow.close(made)
    assert flow._estimator.step([made.stream]) == [None]
    assert not made.stream.pages
