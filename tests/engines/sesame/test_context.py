"""What was said before is what the model reads first, as the library has it, and is kept within bounds."""

from itertools import repeat

import numpy as np
import pytest
import torch
from transformers import EncodecFeatureExtractor, PreTrainedTokenizerFast
from transformers.models.csm.processing_csm import CsmProcessor

from tests.engines.sesame.making import BOOKS, GREEDY, TEXTS, generate
from ttsw.adapters.reference_clip import ReferenceClip
from ttsw.adapters.sesame import random_pack
from ttsw.adapters.sesame.context import MOST_SESSIONS, MOST_TURNS, ContextStore, ContextTurn, fitting
from ttsw.adapters.sesame.files import BEGIN, END
from ttsw.adapters.sesame.text import CsmTextPart


def turn(tokens, frames):
    return ContextTurn(tuple(range(tokens)), np.zeros((frames, 2), np.int16))


def test_the_model_reads_them_as_the_library_has_it(adapter, library, pack):
    """Two turns of two people, recorded; then a third: the frames are those of the library's processor and generate."""
    engine = adapter._engine
    fast = PreTrainedTokenizerFast(
        tokenizer_file=str(pack.files["tokenizer.json"]), bos_token=BEGIN, eos_token=END, pad_token=END
    )
    processor = CsmProcessor(EncodecFeatureExtractor(sampling_rate=24_000), fast)
    said = [("How are you doing today?", 0, 0.6), ("I am fine, as ever, and so is the cat.", 1, 0.9)]
    audio = [random_pack.voice(seconds, seed) for seed, (_, _, seconds) in enumerate(said)]
    text = "".join(f"{BEGIN}[{who}]{words}{END}<|AUDIO|><|audio_eos|>" for words, who, _ in said)
    inputs = processor(text=f"{text}{BEGIN}[0]{TEXTS[0]}{END}", audio=audio)
    wanted = generate(library, **inputs)

    turns = [
        ContextTurn(
            engine.reader.encode(words, who),
            engine.codec.encode(ReferenceClip(samples, 24_000)).numpy().astype(np.int16),
        )
        for (words, who, _), samples in zip(said, audio, strict=True)
    ]
    (part,) = engine.reader.read(TEXTS[0], 0)

    def say():
        said.append((yield from engine.say(part, turns, GREEDY, np.random.default_rng(0), repeat(4))))

    assert sum(map(len, say())) == 1920 * (len(wanted) - 1)
    assert np.array_equal(said[-1].codes, wanted[:-1])
    assert said[-1].tokens == part.tokens
    assert sum(each.positions for each in turns) + len(part.tokens) == inputs["input_ids"].shape[1]


@pytest.mark.parametrize(("room", "kept"), [(0, 0), (10, 0), (11, 1), (21, 1), (22, 2), (32, 2), (33, 3), (999, 3)])
def test_the_oldest_go_first(room, kept):
    turns = [turn(3, 7), turn(4, 6), turn(5, 5)]
    assert fitting(turns, room) == tuple(turns[3 - kept :])


def test_a_gap_is_not_jumped():
    turns = [turn(1, 1), turn(50, 50), turn(1, 1)]
    assert fitting(turns, 20) == (turns[2],)


def test_a_recording_stays_and_turns_go(adapter):
    engine = adapter._engine
    part = CsmTextPart(tuple(range(48)), 10.0)
    room = engine.positions - 48 - 125
    first, turns = turn(100, 399), [turn(10, 489) for _ in range(4)]
    assert same(engine.context(part, first, turns), [first, *turns[-((room - 500) // 500) :]])
    assert same(engine.context(part, None, turns), turns[-(room // 500) :])
    large = turn(10, 5000)
    assert same(engine.context(part, large, turns), [large])


def same(found, wanted):
    return [*map(id, found)] == [*map(id, wanted)]


def test_sessions_have_their_own_and_few():
    turns = ContextStore(1000)
    for number in range(12):
        turns.add("one", turn(number, 1))
    assert [len(each.tokens) for each in turns.get("one")] == list(range(12 - MOST_TURNS, 12))
    assert turns.get("other") == ()
    turns.add("other", turn(2, 900))
    turns.add("other", turn(3, 200))
    assert [len(each.tokens) for each in turns.get("other")] == [3], "frames are bounded, too"


def test_sessions_that_were_not_used_are_forgotten():
    turns = ContextStore(1000)
    for number in range(MOST_SESSIONS):
        turns.add(number, turn(1, 1))
    turns.get(0)
    turns.add("new", turn(1, 1))
    assert len(turns._sessions) == MOST_SESSIONS
    assert turns.get(0)
    assert not turns.get(1)
    turns.forget()
    assert not turns.get(0)


def test_embeddings_of_frames_are_the_librarys(decoder, library):
    codes = torch.randint(0, 64, (5, BOOKS), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(decoder.embed_frames(codes), library.backbone_model.embed_tokens(codes[None])[0])
        assert torch.allclose(decoder.embed_frames(codes.short()), library.backbone_model.embed_tokens(codes[None])[0])
