"""Reading an ONNX graph without its weights: each large one becomes a reference into the file.

Weights are nearly all of a voice's file. Python's protobuf would copy them three times, and block all Python threads
for 45 ms at a time, so ONNX Runtime fetches them from the file. The messages are parsed by hand, since protobuf can't
skip a field (the numbers are onnx.proto's, and frozen).
"""

import mmap
from pathlib import Path

from onnx import ModelProto

from ttsw.formats.onnx_fields import BYTES, VARINT, Field, read_fields

LEAST_BYTES = 1_024
"""Size from which weights become references, bytes; smaller ones are shapes and the like, which graph surgery needs."""

_GRAPH = 7  # of ModelProto
_INITIALIZER = 5  # of GraphProto
_RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 9, 13, 14  # of TensorProto
_EXTERNAL = 1


def read_graph(path: Path) -> ModelProto:
    """Read a graph; its large weights stay in the file, which ONNX Runtime will look for by name in its folder.

    Raises:
        OSError: The file can't be read.
        ValueError: It isn't a protobuf message, or is truncated.
        google.protobuf.message.DecodeError: It is a message other than a model.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
        parts = [
            _tagged(_GRAPH, _lighten_graph(data, field, path.name)) if field.number == _GRAPH else _raw(data, field)
            for field in read_fields(data, 0, len(data))
        ]
    model: ModelProto = ModelProto.FromString(b"".join(parts))
    return model


def _lighten_graph(data: mmap.mmap, graph: Field, location: str) -> bytes:
    parts = []
    for field in read_fields(data, graph.value, graph.end):
        light = None
        if field.number == _INITIALIZER and field.end - field.value >= LEAST_BYTES:
            light = _lighten_tensor(data, field, location)
        parts.append(_raw(data, field) if light is None else _tagged(_INITIALIZER, light))
    return b"".join(parts)


def _lighten_tensor(data: mmap.mmap, tensor: Field, location: str) -> bytes | None:
    """Return a tensor with its raw data replaced by a reference; None if its values are in another field."""
    parts, raw = [], None
    for field in read_fields(data, tensor.value, tensor.end):
        if field.number == _RAW_DATA:
            raw = field
        else:
            parts.append(_raw(data, field))
    if raw is None:
        return None
    told = {"location": location, "offset": str(raw.value), "length": str(raw.end - raw.value)}
    for key, value in told.items():
        parts.append(_tagged(_EXTERNAL_DATA, _tagged(1, key.encode()) + _tagged(2, value.encode())))
    return b"".join([*parts, _varint(_DATA_LOCATION << 3 | VARINT), _varint(_EXTERNAL)])


def _raw(data: mmap.mmap, field: Field) -> bytes:
    return data[field.start : field.end]


def _tagged(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | BYTES) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
