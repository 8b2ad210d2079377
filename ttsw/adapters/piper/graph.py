"""Cuts the ONNX graph of a VITS voice into a front and a chain of streamable stages, in memory and by structure.

VITS (Kim, Kong, Son 2021, arXiv:2106.06103) draws noise twice: for the durations, and for the prior's sample,
`mean + noise · deviation`. All up to mean and deviation sees the whole text: that is the front, and the durations'
noise becomes one of its inputs. What follows the sample is convolutions over time (the flow, then the HiFi-GAN decoder,
arXiv:2010.05646). It is cut wherever a single tensor carries all that follows, and the reach of each stage is counted
from its kernels. So a seam between two windows costs each stage only its own reach: for a medium voice about 10 frames'
worth of computing in all, where with a single cut before the flow it would cost 87.

Decides where to cut. Running the parts is left to `ttsw.adapters.piper.stream`.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import NamedTuple

from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

STAGE_REACH = 8
"""A stage ends at the first possible cut at which its reach, left and right, is this many frames: a short reach makes a
cheap seam, but each stage costs a call and a copy. A medium voice gets six stages."""


class NotVitsError(Exception):
    """The graph is not built as expected; the text says where."""


@dataclass(frozen=True, slots=True)
class StageGraph:
    """A part of the graph that maps a window of frames to a window of its output.

    Args:
        graph: The part; its first input is what the stage before put out, the others are `sides`.
        sides: The front's outputs that it needs too (a mask over the frames, the speaker).
        left: Frames before a window on which the window's output depends.
        right: Frames after a window on which the window's output depends.
        rate: Values on the output's last axis for each frame.
    """

    graph: ModelProto
    sides: tuple[str, ...]
    left: int
    right: int
    rate: int


@dataclass(frozen=True, slots=True)
class Parts:
    """A voice's graph, cut.

    Args:
        front: From phoneme ids to the tensors `mean` and `deviation`, shape (1, channels, frames), and all sides.
        duration_noise: The front's input for the durations' noise, shape (1, 2, ids); None in a voice without one.
        stages: From the prior's sample, shape (1, channels, frames), to audio, in the order in which they run.
    """

    front: ModelProto
    mean: str
    deviation: str
    duration_noise: str | None
    stages: tuple[StageGraph, ...]


class _Prior(NamedTuple):
    noise: str
    mean: str
    deviation: str
    sample: str


class _Reach(NamedTuple):
    """How far a tensor sees to each side, in frames, and how many values it has for each frame."""

    left: Fraction = Fraction(0)
    right: Fraction = Fraction(0)
    rate: Fraction = Fraction(1)


def cut(model: ModelProto) -> Parts:
    """Cut a voice's graph into its front and its stages.

    Raises:
        NotVitsError: The graph is no VITS voice as Piper exports them.
    """
    nodes = list(model.graph.node)
    noises = [node.output[0] for node in nodes if node.op_type == "RandomNormalLike"]
    if not 1 <= len(noises) <= 2:  # a voice with a deterministic duration predictor draws but once
        raise NotVitsError(f"it draws noise at {len(noises)} places; 1 or 2 are expected")
    *durations, noise = noises
    prior = _find_prior(nodes, noise)
    stages = tuple(_stages(model, prior.sample))
    wanted = [prior.mean, prior.deviation, *sorted({side for stage in stages for side in stage.sides})]
    kept = _upstream([n for node in nodes for n in _without_noise(node, prior, durations)], wanted)
    front = _part(model, kept, [*graph_inputs(model), *map(_floats, durations)], wanted)
    return Parts(front, prior.mean, prior.deviation, durations[0] if durations else None, stages)


def graph_inputs(model: ModelProto) -> list[ValueInfoProto]:
    """What the graph is to be given: old exports list their weights among the inputs too."""
    weights = {weight.name for weight in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def _find_prior(nodes: Iterable[NodeProto], noise: str) -> _Prior:
    """Follow the noise through the products that scale it to the sum that adds the mean."""
    scaled = noise
    for node in nodes:
        if scaled not in _reads(node):
            continue
        if node.op_type == "Add":
            mean = next(name for name in node.input if name != scaled)
            return _Prior(noise, mean, scaled, node.output[0])
        if node.op_type != "Mul":
            break
        scaled = node.output[0]
    raise NotVitsError(f"the noise {noise!r} is not scaled and then added to a mean")


def _without_noise(node: NodeProto, prior: _Prior, durations: Collection[str]) -> list[NodeProto]:
    """What stands in the front for a node: with ones for the prior's noise, the scaled noise *is* the deviation."""
    if node.output[0] in durations:
        return []  # its output becomes an input of the graph
    if node.output[0] != prior.noise:
        return [node]
    shape = f"{prior.noise}.shape"
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    return [
        helper.make_node("Shape", [node.input[0]], [shape]),
        helper.make_node("ConstantOfShape", [shape], [prior.noise], value=one),
    ]


def _stages(model: ModelProto, sample: str) -> Iterator[StageGraph]:
    """Cut what lies between the prior's sample and the output."""
    nodes, output = list(model.graph.node), model.graph.output[0].name
    members = _upstream(_downstream(nodes, [sample]), [output])
    moving = _written(_downstream(nodes, [value.name for value in graph_inputs(model)]))
    constant = [node for node in nodes if moving.isdisjoint(node.output)]
    start = sample
    for end, stage_members, reach in _cuts(members, sample, output):
        needed = _upstream([*constant, *stage_members], [end])
        sides = sorted({name for node in needed for name in _reads(node)} & moving - _written(needed) - {start})
        graph = _part(model, needed, [_floats(start), *map(_floats, sides)], [end])
        yield StageGraph(graph, tuple(sides), ceil(reach.left), ceil(reach.right), int(reach.rate))
        start = end
    if start != output:
        raise NotVitsError("the prior's sample does not lead to the output, as a signal over time")


def _cuts(members: list[NodeProto], start: str, output: str) -> Iterator[tuple[str, list[NodeProto], _Reach]]:
    """Walk in the order of the graph, and end a stage where one tensor alone is still needed and it reaches far."""
    uses = Counter(name for node in members for name in _reads(node))
    uses[output] += 1
    needed, stage = {start}, list[NodeProto]()
    reaches = {start: _Reach()}
    for node in members:
        stage.append(node)
        uses.subtract(_reads(node))
        needed = {name for name in needed.union(node.output) if uses[name] > 0}
        reach = _reach(node, reaches)
        if reach is not None:
            reaches |= dict.fromkeys(node.output, reach)
        end = next(iter(needed))
        if len(needed) > 1 or end not in reaches:
            continue
        reach = reaches[end]
        if end == output or (reach.left + reach.right >= STAGE_REACH and reach.rate.denominator == 1):
            yield end, stage, reach
            stage, reaches = [], {end: _Reach(rate=reach.rate)}


def _reach(node: NodeProto, reaches: Mapping[str, _Reach]) -> _Reach | None:
    """How far a node's output sees; None if it is no signal over time (a shape, or made from one).

    A convolution's output j sees the inputs j - before … j - before + span, where `before` is its padding and `span` is
    dilation · (kernel - 1). A transposed one's sees those inputs i for which 0 ≤ j + before - stride · i ≤ span.
    """
    seen = [reaches[name] for name in node.input if name in reaches]
    if not seen or node.op_type == "Shape":
        return None
    left, right, rate = (max(values) for values in zip(*seen, strict=True))
    if node.op_type not in {"Conv", "ConvTranspose"}:
        return _Reach(left, right, rate)
    given = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    kernel, stride, dilation = (given.get(name, [1])[0] for name in ("kernel_shape", "strides", "dilations"))
    span, before = dilation * (kernel - 1), given.get("pads", [0])[0]
    if node.op_type == "Conv":
        return _Reach(left + before / rate, right + (span - before) / rate, rate / stride)
    rate *= stride
    return _Reach(left + (span - before) / rate, right + before / rate, rate)


def _reads(node: NodeProto) -> set[str]:
    """Names of the tensors that a node reads, also from within the bodies of its branches and loops."""
    inner = [body for item in node.attribute if item.type == AttributeProto.GRAPH for body in item.g.node]
    return set(node.input).union(*map(_reads, inner)) - {""}


def _written(nodes: Iterable[NodeProto]) -> set[str]:
    return {name for node in nodes for name in node.output}


def _downstream(nodes: Iterable[NodeProto], names: Iterable[str]) -> list[NodeProto]:
    """The nodes that depend on any of these tensors, in the order of the graph."""
    reached, found = set(names), []
    for node in nodes:
        if not reached.isdisjoint(_reads(node)):
            reached.update(node.output)
            found.append(node)
    return found


def _upstream(nodes: Collection[NodeProto], names: Iterable[str]) -> list[NodeProto]:
    """The nodes on which any of these tensors depends, in the order of the graph."""
    needed, found = set(names), []
    for node in reversed(list(nodes)):
        if not needed.isdisjoint(node.output):
            needed |= _reads(node)
            found.append(node)
    return found[::-1]


def _floats(name: str) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)


def _part(
    model: ModelProto, nodes: list[NodeProto], inputs: Iterable[ValueInfoProto], outputs: Iterable[str]
) -> ModelProto:
    names = set().union(*map(_reads, nodes))
    weights = [weight for weight in model.graph.initializer if weight.name in names]
    graph = helper.make_graph(nodes, "part", [*inputs], [_floats(name) for name in outputs], weights)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
