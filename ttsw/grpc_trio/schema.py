"""Check the bytes of a protobuf message against its schema, before they are decoded.

betterproto2 accepts any wire type for a field: it decodes a string to an int, an enum to a list, and a truncated field
without an error. Here such a message is rejected with the field's name. Pure. Encoding:
https://protobuf.dev/programming-guides/encoding.
"""

from functools import cache
from typing import Any, NamedTuple

VARINT, FIXED_64, DELIMITED, FIXED_32 = 0, 1, 2, 5
_KINDS = {VARINT: "a varint", FIXED_64: "64 bits", DELIMITED: "a length-delimited field", FIXED_32: "32 bits"}
_WIRE_TYPES = {
    **dict.fromkeys(("string", "bytes", "message", "map"), DELIMITED),
    **dict.fromkeys(("double", "fixed64", "sfixed64"), FIXED_64),
    **dict.fromkeys(("float", "fixed32", "sfixed32"), FIXED_32),
}  # all others are varints
_FIXED_BYTES = {FIXED_64: 8, FIXED_32: 4}
_VARINT_BYTES = 10


class SchemaError(ValueError):
    """A message doesn't match its schema; the text names the field."""


class _Field(NamedTuple):
    name: str
    kind: str
    wire_type: int
    packed: bool
    message: type | None  # message type of a nested message or map entry


@cache
def _fields(message_type: type) -> dict[int, _Field]:
    meta: Any = message_type._betterproto  # type: ignore[attr-defined]  # a betterproto2 message
    fields = {}
    for name, field in meta.meta_by_field_name.items():
        wire_type = _WIRE_TYPES.get(field.proto_type, VARINT)
        nested = meta.cls_by_field.get(name) if field.proto_type in {"message", "map"} else None
        packed = bool(field.repeated) and wire_type != DELIMITED
        fields[field.number] = _Field(name, field.proto_type, wire_type, packed, nested)
    return fields


def check(data: bytes, message_type: type) -> None:
    r"""Check that the bytes match a betterproto2 message type. Unknown fields may have any wire type.

    >>> from ttsw.fronts.abi.generated.tts import TextChunk
    >>> check(bytes(TextChunk(text="hello")), TextChunk)
    >>> check(b"\x10\x05", TextChunk)
    Traceback (most recent call last):
    ttsw.grpc_trio.schema.SchemaError: TextChunk.text is a string, but was sent as a varint

    Raises:
        SchemaError: The bytes don't match.
    """
    if hasattr(message_type, "_betterproto"):
        _check(data, message_type, message_type.__name__)


def _check(data: bytes, message_type: type, path: str) -> None:
    fields = _fields(message_type)
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at, path)
        wire_type, number = tag & 7, tag >> 3
        field = fields.get(number)
        name = f"{path}.{field.name}" if field else f"field {number} of {path}"
        if wire_type == DELIMITED:
            size, at = _varint(data, at, name)
            stop = at + size
        elif wire_type == VARINT:
            _, stop = _varint(data, at, name)
        elif wire_type in _FIXED_BYTES:
            stop = at + _FIXED_BYTES[wire_type]
        else:
            raise SchemaError(f"{name} has wire type {wire_type}, which proto3 doesn't define")
        if stop > end:
            raise SchemaError(f"{name} is truncated")
        if field is not None:
            _check_field(data[at:stop], field, wire_type, name)
        at = stop


def _check_field(content: bytes, field: _Field, wire_type: int, name: str) -> None:
    if wire_type == DELIMITED and field.packed:
        _check_packed(content, field.wire_type, name)
    elif wire_type != field.wire_type:
        raise SchemaError(f"{name} is a {field.kind}, but was sent as {_KINDS[wire_type]}")
    elif field.message is not None:
        _check(content, field.message, name)
    elif field.kind == "string":
        try:
            content.decode()
        except UnicodeDecodeError as error:
            raise SchemaError(f"{name} is not UTF-8: {error.reason} at byte {error.start}") from error


def _check_packed(content: bytes, wire_type: int, name: str) -> None:
    if wire_type == VARINT:
        at = 0
        while at < len(content):
            _, at = _varint(content, at, name)
    elif len(content) % _FIXED_BYTES[wire_type]:
        raise SchemaError(f"{name} is truncated")


def _varint(data: bytes, at: int, name: str) -> tuple[int, int]:
    value = shift = 0
    for place in range(at, min(len(data), at + _VARINT_BYTES)):
        byte = data[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place + 1
        shift += 7
    raise SchemaError(
        f"{name} has a varint of over {_VARINT_BYTES} bytes"
        if len(data) - at >= _VARINT_BYTES
        else f"{name} is truncated"
    )
