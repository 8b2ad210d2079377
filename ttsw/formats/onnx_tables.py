"""What an ONNX graph takes, and how many rows the tables have in which it looks its inputs up; read without a library.

A number beyond a table's rows fails only when it is looked up, so in mid-speech. Weights are passed over, not read.
"""

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ttsw.formats.onnx_fields import VARINT, Field, read_fields, read_varint

# The numbers are onnx.proto's, and frozen.
_GRAPH = 7  # of ModelProto
_NODE, _INITIALIZER, _INPUT = 1, 5, 11  # of GraphProto
_TAKES, _GIVES, _OP_TYPE, _ATTRIBUTE = 1, 2, 4, 5  # of NodeProto
_ATTRIBUTE_NAME, _ATTRIBUTE_INT, _ATTRIBUTE_TENSOR = 1, 3, 5  # of AttributeProto
_DIMS, _TENSOR_NAME = 1, 8  # of TensorProto
_VALUE_NAME = 1  # of ValueInfoProto

_SAME_NUMBERS = {"Cast", "Identity", "Squeeze", "Unsqueeze", "Reshape"}
"""What is done to an input that leaves its numbers as they are."""
_SAME_ROWS = {"Cast", "Identity", "DequantizeLinear"}
"""What is done to a table that leaves its rows as they are."""


class Graph(NamedTuple):
    """What is known of a graph.

    Args:
        inputs: Names of what it is to be given.
        rows: By input, the rows of the smallest table that it is looked up in; an input that is in none isn't there.
    """

    inputs: frozenset[str]
    rows: Mapping[str, int]


def read_tables(path: Path) -> Graph:
    """Read what a graph takes.

    Raises:
        OSError: The file can't be read.
        ValueError: It is no ONNX graph, or cut short.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
        found = _Found()
        for graph in read_fields(data, 0, len(data)):
            if graph.number == _GRAPH:
                _read_graph(data, graph, found)
    inputs = frozenset(found.inputs) - found.tables.keys()  # old exports list their weights among the inputs, too
    if not inputs:
        raise ValueError("it is no ONNX graph: it takes nothing")
    return Graph(inputs, found.rows(inputs))


@dataclass
class _Found:
    """What was read of a graph so far.

    Args:
        inputs: Names of its inputs, and maybe of weights.
        tables: Rows of its constant tensors, by name.
        same: Names of tensors that have the numbers, or the rows, of another.
        looked_up: Pairs of a table and what is looked up in it.
    """

    inputs: list[str] = field(default_factory=list)
    tables: dict[str, int] = field(default_factory=dict)
    same: dict[str, str] = field(default_factory=dict)
    looked_up: list[tuple[str, str]] = field(default_factory=list)

    def rows(self, inputs: frozenset[str]) -> dict[str, int]:
        rows: dict[str, int] = {}
        for table, numbers in self.looked_up:
            name, known = self._origin(numbers), self.tables.get(self._origin(table))
            if name in inputs and known is not None:
                rows[name] = min(known, rows.get(name, known))
        return rows

    def _origin(self, name: str) -> str:
        seen = {name}
        while (name := self.same.get(name, name)) not in seen:
            seen.add(name)
        return name


def _read_graph(data: mmap.mmap, graph: Field, found: _Found) -> None:
    for part in read_fields(data, graph.value, graph.end):
        if part.number == _NODE:
            _read_node(data, part, found)
        elif part.number == _INITIALIZER:
            found.tables |= dict([_tensor(data, part)])
        elif part.number == _INPUT:
            found.inputs += _texts(data, part, _VALUE_NAME)[:1]


def _read_node(data: mmap.mmap, node: Field, found: _Found) -> None:
    kind = "".join(_texts(data, node, _OP_TYPE))
    takes, gives = _texts(data, node, _TAKES), _texts(data, node, _GIVES)
    if kind == "Constant" and gives:
        for attribute in _within(data, node, _ATTRIBUTE):
            for tensor in _within(data, attribute, _ATTRIBUTE_TENSOR):
                found.tables[gives[0]] = _tensor(data, tensor)[1]
    elif kind == "Gather" and len(takes) == 2 and _axis(data, node) == 0:
        found.looked_up.append((takes[0], takes[1]))
    elif kind in _SAME_NUMBERS | _SAME_ROWS and takes and gives:
        found.same[gives[0]] = takes[0]


def _axis(data: mmap.mmap, node: Field) -> int:
    for attribute in _within(data, node, _ATTRIBUTE):
        if _texts(data, attribute, _ATTRIBUTE_NAME) == ["axis"]:
            return next((each for one in _within(data, attribute, _ATTRIBUTE_INT) for each in _numbers(data, one)), 0)
    return 0


def _tensor(data: mmap.mmap, tensor: Field) -> tuple[str, int]:
    """Give a tensor's name and its rows; one without dimensions has one."""
    rows, name = None, ""
    for part in read_fields(data, tensor.value, tensor.end):
        if part.number == _DIMS and rows is None:
            rows = next(_numbers(data, part), None)
        elif part.number == _TENSOR_NAME:
            name = _text(data, part)
    return name, 1 if rows is None else rows


def _within(data: mmap.mmap, message: Field, number: int) -> Iterator[Field]:
    return (part for part in read_fields(data, message.value, message.end) if part.number == number)


def _texts(data: mmap.mmap, message: Field, number: int) -> list[str]:
    return [_text(data, part) for part in _within(data, message, number)]


def _text(data: mmap.mmap, part: Field) -> str:
    return data[part.value : part.end].decode()


def _numbers(data: mmap.mmap, part: Field) -> Iterator[int]:
    """Give the numbers of a field: one, or several that are packed."""
    at = part.value
    while at < part.end:
        number, at = read_varint(data, at, part.end)
        yield number
        if part.kind == VARINT:
            return
