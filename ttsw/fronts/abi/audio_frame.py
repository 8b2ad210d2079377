"""Fast encoder for AudioFrame: the same bytes as betterproto2, without its 16 µs per frame.

Protobuf's wire format (https://protobuf.dev/programming-guides/encoding/): a number is a tag and a varint; bytes and
strings are a tag, a length and the content. Fields are in the order of their numbers, and zero values are omitted.
"""

from functools import lru_cache

from ttsw.sessions.frames import Frame
from ttsw.units import FRAME_BYTES, FRAME_MS, SAMPLE_RATE


def varint(value: int) -> bytes:
    r"""Encode a non-negative integer as a protobuf varint.

    >>> varint(300)
    b'\xac\x02'
    """
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_FIXED = b"\x18" + varint(SAMPLE_RATE) + b"\x20" + varint(FRAME_MS) + b"\x28"
_PCM = b"\x12" + varint(FRAME_BYTES)


class FrameEncoder:
    """Encodes the frames of one session."""

    def __init__(self, session_id: str) -> None:
        name = session_id.encode()
        self._empty = b"\x0a" + varint(len(name)) + name if name else b""
        self._full = self._empty + _PCM

    def encode(self, frame: Frame) -> bytes:
        """Return the frame as an encoded tts.AudioFrame."""
        pcm, *rest = frame
        tail = _tail(*rest)
        return b"".join((self._full, pcm, tail)) if pcm else self._empty + tail


@lru_cache(8_192)
def _tail(sequence: int, final: bool, segment: int, position: int) -> bytes:
    """Encode the fields after the audio. Cached, since they are the same in all sessions."""
    tail = _FIXED + varint(sequence)
    if final:
        tail += b"\x30\x01"
    if segment:
        tail += b"\x38" + varint(segment)
    if position:
        tail += b"\x40" + varint(position)
    return tail
