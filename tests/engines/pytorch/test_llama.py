"""Steps for many rows, of any length and at any time, are what transformers computes for each alone."""

import pytest
import torch
from transformers import LlamaConfig, LlamaModel, Qwen2Config, Qwen2Model

from ttsw.adapters.pytorch.kv_cache import PAGE
from ttsw.adapters.pytorch.llama import Layers, Paged

torch.set_num_threads(1)

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 8,
    "max_position_embeddings": 256,
}
SCALED = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 32.0,
    "high_freq_factor": 0.5,
    "low_freq_factor": 0.125,
    "original_max_position_embeddings": 64,
}


class Row:
    def __init__(self):
        self.pages, self.length, self.closed = [], 0, False


def make(kind):
    torch.manual_seed(3)
    if kind == "qwen":
        model = Qwen2Model(Qwen2Config(**SIZES))
    elif kind == "scaled":
        model = LlamaModel(LlamaConfig(**SIZES, rope_parameters=SCALED))
    else:
        sizes = SIZES | {"num_key_value_heads": 4, "head_dim": 12}
        model = LlamaModel(LlamaConfig(**sizes, attention_bias=True, mlp_bias=True))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "norm" in name:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


@pytest.fixture(params=["qwen", "scaled", "whole heads"])
def model(request):
    return make(request.param)


def inputs(seed, count):
    return torch.randn(count, 32, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def by_library(model, x):
    """All at once, without a cache."""
    return model(inputs_embeds=x[None], use_cache=False).last_hidden_state[0]


def begin(paged, row, x):
    made = paged.begin(row, x)
    row.length += len(x)
    return made


def advance(paged, rows, x):
    made = paged.advance(rows, x)
    for row in rows:
        row.length += 1
    return made


def test_a_beginning_is_what_the_library_computes(model):
    x = inputs(1, 70)
    assert torch.allclose(begin(Paged(Layers(model), 8), Row(), x), by_library(model, x), atol=1e-5)


def test_cached_steps_of_many_equal_the_uncached_whole_of_each(model):
    paged = Paged(Layers(model), 16)
    texts = [inputs(1, 5 + 75), inputs(2, PAGE + 75), inputs(3, 2 * PAGE - 1 + 75)]
    rows = [Row(), Row(), Row()]
    made = [[begin(paged, row, x[:-75])] for row, x in zip(rows, texts, strict=True)]
    for _ in range(75):
        at = [each.length for each in rows]
        out = advance(paged, rows, torch.stack([x[i] for x, i in zip(texts, at, strict=True)]))
        for each, value in zip(made, out, strict=True):
            each.append(value[None])
    for x, each in zip(texts, made, strict=True):
        assert torch.allclose(torch.cat(each), by_library(model, x), atol=1e-5)


def test_a_beginning_in_pieces_is_the_same(model):
    x = inputs(1, 90)
    paged, row = Paged(Layers(model), 8), Row()
    made = torch.cat([begin(paged, row, piece) for piece in x.split([1, 40, 31, 18])])
    assert torch.allclose(made, by_library(model, x), atol=1e-5)


def test_a_step_can_be_made_again(model):
    x = inputs(1, 12)
    paged, row = Paged(Layers(model), 8), Row()
    begin(paged, row, x[:10])
    first = paged.advance([row], x[10:11])
    paged.advance([row], x[11:12])
    assert torch.equal(paged.advance([row], x[10:11]), first)
    assert row.length == 10


def test_rows_come_and_go_and_leave_nothing(model):
    paged = Paged(Layers(model), 4 * PAGE)
    alone, x = Row(), inputs(1, 50)
    wanted = begin(paged, alone, x)
    paged.close(alone)
    other = Row()
    begin(paged, other, inputs(2, 100) * 1e18)  # whose keys are infinities
    paged.close(other)
    again = Row()
    assert torch.equal(begin(paged, again, x), wanted)
    paged.close(again)
    assert paged.pages.in_use == 0


def test_what_is_added_to_projections_is_by_name_and_row():
    model = make("qwen")
    layers, x = Layers(model), inputs(1, 6)
    names = []

    def adapt(name, x):
        names.append(name)
        return torch.ones(len(x), 16) if name == "layers.1.self_attn.v_proj" else None

    made = Paged(layers, 8).begin(Row(), x, adapt)
    with torch.no_grad():
        model.layers[1].self_attn.v_proj.bias.add_(1)
    assert torch.allclose(made, by_library(model, x), atol=1e-5)
    kinds = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"}
    kinds |= {"mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}
    assert set(names) == {f"layers.{index}.{kind}" for index in range(3) for kind in kinds}


def test_half_precision_stays_close():
    model = make("scaled")
    x = inputs(1, 40)
    wanted = by_library(model, x)
    paged, row = Paged(Layers(model.to(torch.bfloat16)), 8), Row()
    assert paged.pages.memory.dtype == torch.bfloat16
    half = x.to(torch.bfloat16)
    made = [begin(paged, row, half[:30])] + [advance(paged, [row], half[at : at + 1]) for at in range(30, 40)]
    assert torch.allclose(torch.cat(made).float(), wanted, atol=0.15)
