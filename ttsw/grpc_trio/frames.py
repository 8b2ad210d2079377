"""Encode and parse the frames handled without h2: gRPC's length prefix, HTTP/2 DATA, and GOAWAY. Stateless.

`call` and `connection` decide whether a frame may be sent, and update h2's windows.
"""

from collections.abc import Iterable, Sequence
from struct import Struct

_HEAD = Struct(">HBBBL")  # HTTP/2 frame header: length as 16 + 8 bits, type, flags, stream id
_PREFIX = Struct(">BL")  # gRPC message prefix: compressed flag and length
_GOAWAY = Struct(">LL")

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
HEAD_BYTES = _HEAD.size
PREFIX_BYTES = _PREFIX.size
MAX_STREAM_ID = 2**31 - 1


def join_messages(messages: Sequence[bytes]) -> bytes:
    """Prefix each message with its gRPC header and join them."""
    if len(messages) == 1:
        return _PREFIX.pack(0, len(messages[0])) + messages[0]
    return b"".join([part for message in messages for part in (_PREFIX.pack(0, len(message)), message)])


def write_data(out: bytearray, stream_id: int, payload: bytes | memoryview, max_frame_bytes: int) -> None:
    """Append `payload` to `out` as DATA frames of at most `max_frame_bytes` each."""
    size = len(payload)
    if size <= max_frame_bytes:
        out += _HEAD.pack(size >> 8, size & 0xFF, DATA, 0, stream_id)
        out += payload
        return
    for start in range(0, size, max_frame_bytes):
        write_data(out, stream_id, payload[start : start + max_frame_bytes], max_frame_bytes)


def goaway(last_stream_id: int, error_code: int, reason: bytes = b"") -> bytes:
    """Return a GOAWAY frame that starts a drain; h2's own GOAWAY would close the connection state."""
    body = _GOAWAY.pack(last_stream_id, error_code) + reason
    return _HEAD.pack(len(body) >> 8, len(body) & 0xFF, GOAWAY, 0, 0) + body


def parse_prefix(data: bytes | bytearray) -> tuple[int, int]:
    """Return the compressed flag and length of the message at the start of `data`."""
    flag, size = _PREFIX.unpack_from(data)
    return flag, size


def parse_head(data: bytes | bytearray, offset: int = 0) -> tuple[int, int, int, int]:
    """Return body length, type, flags and stream id of the frame at `offset`."""
    high, low, kind, flags, stream_id = _HEAD.unpack_from(data, offset)
    return high << 8 | low, kind, flags, stream_id


def header_list_bytes(headers: Iterable[tuple[str, str]]) -> int:
    """Return the size of a header list in bytes, as defined by RFC 9113, section 6.5.2.

    >>> header_list_bytes([("te", "trailers")])
    42
    """
    return sum(len(name) + len(value) + 32 for name, value in headers)
