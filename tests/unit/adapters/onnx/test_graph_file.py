import mmap
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx", reason="it comes with the extra `piper`, which is not installed")

from google.protobuf.message import DecodeError  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from ttsw.adapters.onnx.graph_file import LEAST_BYTES, _varint, read_graph  # noqa: E402
from ttsw.adapters.onnx.session import open_session  # noqa: E402

SIZE = 5_000


def model(*weights: TensorProto):
    """y = x + all weights."""
    names = [weight.name for weight in weights]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [SIZE]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Sum", ["x", *names], ["y"])], "demo", values[:1], values[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def weight(name: str, scale: float = 1.0) -> TensorProto:
    return numpy_helper.from_array((scale * np.arange(SIZE)).astype(np.float32), name)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "weights"
    onnx.save(model(weight("a"), weight("b", 0.5)), path)
    return path


def test_a_graph_runs_on_the_weights_in_its_file(path):
    light = read_graph(path)
    assert len(light.SerializeToString()) < 1_000
    (made,) = open_session(light.SerializeToString(), 1, path.parent).run(None, {"x": np.ones(SIZE, np.float32)})
    assert np.array_equal(made, 1 + 1.5 * np.arange(SIZE, dtype=np.float32))


def test_the_file_may_go_once_the_graph_is_open(path):
    session = open_session(read_graph(path).SerializeToString(), 1, path.parent)
    path.unlink()
    assert session.run(None, {"x": np.zeros(SIZE, np.float32)})[0][2] == 3


def test_small_weights_and_those_that_are_not_raw_stay_in_the_graph(tmp_path):
    small = numpy_helper.from_array(np.arange(SIZE % 7, dtype=np.float32), "small")
    typed = helper.make_tensor("typed", TensorProto.FLOAT, [SIZE], np.arange(SIZE, dtype=np.float32))
    onnx.save(model(weight("a"), small, typed), tmp_path / "weights")
    light = {each.name: each for each in read_graph(tmp_path / "weights").graph.initializer}
    assert light["a"].data_location == TensorProto.EXTERNAL
    assert light["small"] == small
    assert light["typed"] == typed
    assert len(small.SerializeToString()) < LEAST_BYTES


def test_all_else_is_as_it_was(path):
    whole, light = onnx.load(path), read_graph(path)
    for each in (whole, light):
        del each.graph.initializer[:]
    assert light == whole


@pytest.mark.parametrize("cut", [1, 10, 1_000, 30_000])
def test_a_file_that_is_cut_short_is_told(path, cut):
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(ValueError, match=r"it is (cut short|no ONNX file)"):
        read_graph(path)


def test_an_empty_file_is_told(path):
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="empty"):
        read_graph(path)


@settings(max_examples=300, deadline=None)
@given(st.binary(min_size=1, max_size=200))
def test_whatever_is_in_the_file_it_ends_with_a_model_or_an_error(tmp_path_factory, junk):
    path = Path(tmp_path_factory.mktemp("junk", numbered=True), "weights")
    path.write_bytes(junk)
    with suppress(ValueError, DecodeError):
        assert isinstance(read_graph(path), onnx.ModelProto)


@given(st.integers(0, 2**63))
def test_numbers_are_written_as_protobuf_does(number):
    from ttsw.formats.onnx_fields import read_varint  # noqa: PLC0415

    data = mmap.mmap(-1, 16)
    written = _varint(number)
    data[: len(written)] = written
    assert read_varint(data, 0, 16) == (number, len(written))
