"""Reads an ONNX graph without its weights: each large one becomes a reference to where it lies in the file.

A voice's weights are nearly all of its file. Taken through Python's protobuf they are copied three times, while no
other thread of Python's runs for 45 ms at a time; so ONNX Runtime is left to fetch them from the file itself. The
messages are walked by hand, since protobuf has no way to leave a field out (the numbers are onnx.proto's, and frozen).
"""

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from onnx import ModelProto

LEAST_BYTES = 1_024
"""Smaller weights stay in the graph: they are shapes and the like, which those who cut a graph look at."""

_GRAPH = 7  # of ModelProto
_INITIALIZER = 5  # of GraphProto
_RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 9, 13, 14  # of TensorProto
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_EXTERNAL = 1


class _Field(NamedTuple):
    """A field of a message, by its place in the file.

    Args:
        number: Which.
        kind: How it is encoded.
        start: Where its tag begins.
        value: Where its value begins.
        end: Where it ends.
    """

    number: int
    kind: int
    start: int
    value: int
    end: int


def read_graph(path: Path) -> ModelProto:
    """Read a graph; its large weights stay in the file, which ONNX Runtime will look for by name in its folder.

    Raises:
        OSError: The file can't be read.
        ValueError: It is no protobuf message, or cut short.
        google.protobuf.message.DecodeError: It is another message than a model.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
        parts = [
            _tagged(_GRAPH, _lighten_graph(data, field, path.name)) if field.number == _GRAPH else _raw(data, field)
            for field in _fields(data, 0, len(data))
        ]
    model: ModelProto = ModelProto.FromString(b"".join(parts))
    return model


def _lighten_graph(data: mmap.mmap, graph: _Field, location: str) -> bytes:
    parts = []
    for field in _fields(data, graph.value, graph.end):
        light = None
        if field.number == _INITIALIZER and field.end - field.value >= LEAST_BYTES:
            light = _lighten_tensor(data, field, location)
        parts.append(_raw(data, field) if light is None else _tagged(_INITIALIZER, light))
    return b"".join(parts)


def _lighten_tensor(data: mmap.mmap, tensor: _Field, location: str) -> bytes | None:
    """Refer to a tensor's raw data; None where its values are in another field."""
    parts, raw = [], None
    for field in _fields(data, tensor.value, tensor.end):
        if field.number == _RAW_DATA:
            raw = field
        else:
            parts.append(_raw(data, field))
    if raw is None:
        return None
    told = {"location": location, "offset": str(raw.value), "length": str(raw.end - raw.value)}
    for key, value in told.items():
        parts.append(_tagged(_EXTERNAL_DATA, _tagged(1, key.encode()) + _tagged(2, value.encode())))
    return b"".join([*parts, _varint(_DATA_LOCATION << 3 | _VARINT), _varint(_EXTERNAL)])


def _fields(data: mmap.mmap, at: int, end: int) -> Iterator[_Field]:
    while at < end:
        start = at
        key, at = _read_varint(data, at, end)
        number, kind = key >> 3, key & 7
        value = at
        if kind == _BYTES:
            length, value = _read_varint(data, at, end)
            at = value + length
        elif kind == _VARINT:
            _, at = _read_varint(data, at, end)
        elif kind in {_FIXED64, _FIXED32}:
            at += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"it is no ONNX file: at byte {start} is what no message has")
        if at > end:
            raise ValueError(f"it is cut short: what begins at byte {start} goes on to {at}, but it ends at {end}")
        yield _Field(number, kind, start, value, at)


def _read_varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            break
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError(f"it is no ONNX file, or cut short: there is no number at byte {at}")


def _raw(data: mmap.mmap, field: _Field) -> bytes:
    return data[field.start : field.end]


def _tagged(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
