"""Voices beside each other in one step are what peft makes of each alone, and take the memory of their weights."""

import numpy as np
import pytest
import torch

from tests.engines.sesame.making import TEXTS, ask, finish, open_, read_pack, step
from ttsw.adapters.sesame.frames import BACKBONE, DEPTH
from ttsw.adapters.sesame.lora_files import find_lora, read_lora
from ttsw.adapters.sesame.loras import NONE, Loras

NAMES = ("anna", "bert", "carl")
PEOPLE = ("", *NAMES)


def load(packs, name, model):
    return read_lora(*find_lora(read_pack(packs / name).files, packs / name), model)


@pytest.fixture
def numbers(decoder, packs, model):
    found = {name: decoder.loras.add(load(packs, name, model)) for name in NAMES}
    return found | {"": NONE}


@pytest.fixture(scope="module")
def prompts(reader):
    return dict(zip(PEOPLE, map(reader.encode, (*TEXTS, TEXTS[0]), [0] * 4), strict=True))


@pytest.fixture(scope="module")
def expected(library, with_lora, prompts):
    """What everybody says to the text of each, by the libraries."""
    models = {"": library} | {name: with_lora(name) for name in NAMES}
    return {name: ask(models[name], prompts[name]) for name in PEOPLE}


@pytest.mark.parametrize("name", NAMES)
def test_a_voice_says_what_peft_has_it_say(decoder, numbers, prompts, expected, name):
    row, plain = open_(decoder, prompts[name], lora=numbers[name]), open_(decoder, prompts[name])
    found = finish(decoder, [row])[0]
    assert np.array_equal(found, expected[name])
    assert not np.array_equal(found, finish(decoder, [plain])[0]), "it is heard"


def test_all_say_so_in_the_same_steps(decoder, numbers, prompts, expected):
    rows = [open_(decoder, prompts[name], lora=numbers[name]) for name in PEOPLE]
    for found, name in zip(finish(decoder, rows), PEOPLE, strict=True):
        assert np.array_equal(found, expected[name]), name


def test_two_of_one_voice_and_one_of_none(decoder, numbers, prompts, expected):
    rows = [open_(decoder, prompts[name], lora=numbers[name]) for name in ("bert", "", "bert")]
    found = finish(decoder, rows)
    for frames, name in zip(found, ("bert", "", "bert"), strict=True):
        assert np.array_equal(frames, expected[name])


def test_the_logits_are_pefts(decoder, numbers, prompts, with_lora):
    peft = with_lora("anna")
    row = open_(decoder, prompts["anna"], lora=numbers["anna"])
    with torch.inference_mode():
        ours = decoder._read(row)
        wanted = peft(input_ids=torch.tensor([prompts["anna"]]), output_hidden_states=True).hidden_states[-1][:, -1]
    assert torch.allclose(ours, wanted, atol=1e-5)


def test_they_take_the_memory_of_their_weights_and_no_more(packs, model):
    loras, sizes = Loras(model.device, model.kind), {}
    for name in NAMES:
        pairs = load(packs, name, model)
        before = loras.bytes
        number = loras.add(pairs)
        sizes[number] = sum(each.numel() * 4 for pair in pairs.values() for each in pair)
        assert loras.bytes - before == sizes[number]
    assert len(loras.numbers) == 3
    for number in (2, 1, 3):
        before = loras.bytes
        loras.remove(number)
        assert before - loras.bytes == sizes[number]
    assert loras.bytes == 0
    assert loras._stacks == {}


def test_one_may_go_while_others_speak(decoder, numbers, prompts, expected):
    rows = [open_(decoder, prompts[name], lora=numbers[name]) for name in PEOPLE]
    for _ in range(5):
        step(decoder, [row for row in rows if not row.done])
    decoder.close(rows.pop(1))
    decoder.loras.remove(numbers["anna"])
    for found, name in zip(finish(decoder, rows), ("", "bert", "carl"), strict=True):
        assert np.array_equal(found, expected[name])


def test_one_may_come_while_others_speak(decoder, packs, model, prompts, expected):
    first = decoder.loras.add(load(packs, "bert", model))
    rows = [open_(decoder, prompts["bert"], lora=first)]
    for _ in range(5):
        step(decoder, rows)
    second = decoder.loras.add(load(packs, "anna", model))
    assert second != first
    rows.append(open_(decoder, prompts["anna"], lora=second))
    for found, name in zip(finish(decoder, rows), ("bert", "anna"), strict=True):
        assert np.array_equal(found, expected[name])


def test_where_nobody_has_one_nothing_is_added(decoder, numbers):
    assert decoder.loras.adapt([NONE, NONE], BACKBONE) is None
    add, x = decoder.loras.adapt([numbers["carl"], NONE], DEPTH), torch.randn(2, 32)
    assert add("layers.0.self_attn.q_proj", x)[0].any()
    assert not add("layers.0.self_attn.q_proj", x)[1].any()
    assert add("layers.0.self_attn.k_proj", x) is None, "anna and bert have it, but carl hasn't"


def test_only_what_speaks_is_computed():
    loras = Loras(torch.device("cpu"), torch.float32)
    numbers = [loras.add({"x": (torch.randn(rank, 5), torch.randn(rank, 3))}) for rank in (2, 3, 4)]
    stack = loras._stacks["x"]
    assert stack.spans == ((numbers[0], 0, 2), (numbers[1], 2, 5), (numbers[2], 5, 9))
    x = torch.randn(3, 5)
    for owners in ([numbers[1]], [numbers[1]] * 3, [NONE, numbers[1], numbers[2]], [numbers[2], NONE, numbers[0]]):
        found = loras.adapt(owners, "")("x", x)
        for row, owner in enumerate(owners if len(owners) == 3 else owners * 3):
            span = next((slice(*span[1:]) for span in stack.spans if span[0] == owner), slice(0))
            assert torch.allclose(found[row], x[row] @ stack.down[span].T @ stack.up[span], atol=1e-6)
    assert loras.adapt([numbers[0]], "")("y", x) is None
    assert loras._masks
    loras.remove(numbers[0])
    assert not loras._masks
    assert loras._stacks["x"].spans == ((numbers[1], 0, 3), (numbers[2], 3, 7))


def test_masks_are_few():
    loras = Loras(torch.device("cpu"), torch.float32)
    number = loras.add({"x": (torch.randn(1, 2), torch.randn(1, 2))})
    for count in range(200):
        loras.adapt([number, *[NONE] * (count + 1)], "")("x", torch.randn(count + 2, 2))
    assert 0 < len(loras._masks) <= 64
