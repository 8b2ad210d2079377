"""What a graph takes, and the rows of its tables: through what stands between, and in files that are none."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("onnx", reason="it comes with the extra `piper`, which is not installed")

import onnx

from tests.tiny_piper import tiny_bytes, tiny_model
from ttsw.formats.onnx_tables import read_tables

INPUTS = {"input", "input_lengths", "scales"}
LOOK_UP = "rows = Gather(embedding, input)"


@pytest.fixture
def read(tmp_path):
    def read(*changes, speakers=1, model=None):
        onnx.save(model or tiny_model(*changes, speakers=speakers), tmp_path / "voice.onnx")
        return read_tables(tmp_path / "voice.onnx")

    return read


def test_a_graph_says_what_it_takes_and_how_many_rows_its_tables_have(read):
    assert read() == (INPUTS, {"input": 64})
    assert read(speakers=3) == (INPUTS | {"sid"}, {"input": 64, "sid": 3})


@pytest.mark.parametrize(
    "between",
    [
        "numbers = Cast<to = 6>(input)  rows = Gather(embedding, numbers)",
        "table = Identity(embedding)  rows = Gather(table, input)",
        "one = Cast<to = 6>(input)  two = Identity(one)  rows = Gather(embedding, two)",
        "rows = Gather<axis = 0>(embedding, input)",
    ],
)
def test_what_stands_between_an_input_and_its_table_is_seen_through(read, between):
    assert read((LOOK_UP, between)).rows == {"input": 64}


def test_a_table_may_be_a_constant(read):
    constant = "table = Constant<value = float[2,1] {1.0, 2.0}>()  spare = Gather(table, input)"
    assert read((LOOK_UP, f"{constant}  {LOOK_UP}")).rows == {"input": 2}, "the smallest table counts"


def test_what_is_looked_up_along_another_axis_has_no_rows(read):
    assert read((LOOK_UP, f"{LOOK_UP}  spare = Gather<axis = 1>(speakers, input)")).rows == {"input": 64}


def test_weights_that_are_listed_among_the_inputs_are_none(read):
    model = tiny_model()
    weight = onnx.helper.make_tensor_value_info("embedding", onnx.TensorProto.FLOAT, [64, 8])
    model.graph.input.append(weight)
    assert read(model=model).inputs == INPUTS


def test_names_that_lead_in_a_circle_end(read):
    model = tiny_model()
    model.graph.node.append(onnx.helper.make_node("Identity", ["b"], ["a"]))
    model.graph.node.append(onnx.helper.make_node("Identity", ["a"], ["b"]))
    model.graph.node.append(onnx.helper.make_node("Gather", ["a", "b"], ["c"]))
    assert read(model=model).rows == {"input": 64}


def test_a_file_that_is_cut_anywhere_is_told_from_a_graph(tmp_path):
    path, data = tmp_path / "voice.onnx", tiny_bytes()
    for cut in range(0, len(data), 97):
        path.write_bytes(data[:cut])
        with pytest.raises(ValueError, match=r"cut short|no ONNX|cannot mmap"):
            read_tables(path)


@given(st.binary(max_size=80))
def test_whatever_a_file_holds(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fuzzed.onnx"
    path.write_bytes(data)
    with suppress(ValueError):
        assert read_tables(path).inputs
