import gc

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from ttsw.adapters.onnx.session import open_session
from ttsw.errors import UnavailableError

WEIGHTS = np.arange(4_000_000, dtype=np.float32)


@pytest.fixture(scope="module")
def graph():
    """A graph that adds 16 MB of weights to its input."""
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [len(WEIGHTS)]) for name in "xy"]
    whole = helper.make_graph(nodes, "demo", values[:1], values[1:], [numpy_helper.from_array(WEIGHTS, "w")])
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def test_a_graph_is_opened_from_a_file_or_from_memory(graph, tmp_path):
    onnx.save(graph, tmp_path / "graph.onnx")
    for source in (tmp_path / "graph.onnx", graph.SerializeToString()):
        (made,) = open_session(source, 1).run(None, {"x": np.ones_like(WEIGHTS)})
        assert np.array_equal(made, WEIGHTS + 1)


def test_the_bytes_that_it_was_opened_from_are_not_kept(graph):
    source = graph.SerializeToString()
    session = open_session(source, 1)
    holders = [held for held in gc.get_referrers(source) if held is not globals()]
    assert not any(holder is vars(session) or holder is session for holder in holders)
    assert session.get_providers() == ["CPUExecutionProvider"]


def test_a_gpu_that_this_build_cant_use_is_refused(graph):
    assert "CUDAExecutionProvider" not in onnxruntime.get_available_providers()
    with pytest.raises(UnavailableError, match=r"built without CUDAExecutionProvider; .*pip uninstall onnxruntime"):
        open_session(graph.SerializeToString(), 1, device="cuda:0")


def test_a_gpu_that_onnx_runtime_silently_leaves_aside_is_refused(graph, monkeypatch):
    class Session(onnxruntime.InferenceSession):
        def __init__(self, graph, options, providers):
            assert providers[0] == (
                "CUDAExecutionProvider",
                {"device_id": "1", "arena_extend_strategy": "kSameAsRequested"},
            )
            super().__init__(graph, options, ["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    with pytest.raises(UnavailableError, match="but can't use it on cuda:1"):
        open_session(graph.SerializeToString(), 1, device="cuda:1")
