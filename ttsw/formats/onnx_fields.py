"""Protobuf messages walked by hand, in a file that is mapped: where each field lies, without a library or a copy."""

import mmap
from collections.abc import Iterator
from typing import NamedTuple

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class Field(NamedTuple):
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


def read_fields(data: mmap.mmap, at: int, end: int) -> Iterator[Field]:
    """Give the fields of the message between two places.

    Raises:
        ValueError: There is no message, or it is cut short.
    """
    while at < end:
        start = at
        key, at = read_varint(data, at, end)
        number, kind = key >> 3, key & 7
        value = at
        if kind == BYTES:
            length, value = read_varint(data, at, end)
            at = value + length
        elif kind == VARINT:
            _, at = read_varint(data, at, end)
        elif kind in {FIXED64, FIXED32}:
            at += 8 if kind == FIXED64 else 4
        else:
            raise ValueError(f"it is no ONNX file: at byte {start} is what no message has")
        if at > end:
            raise ValueError(f"it is cut short: what begins at byte {start} goes on to {at}, but it ends at {end}")
        yield Field(number, kind, start, value, at)


def read_varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    """Read a number, and where it ends.

    Raises:
        ValueError: There is none.
    """
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
