"""Flood guard: limits the rate of frames that cost the peer little, before h2 parses them. Pure, without I/O or clock.

Covers rapid reset, HPACK amplification, and floods of PING, SETTINGS, PRIORITY, CONTINUATION, unknown and empty DATA
frames. h2 validates individual frames; `connection` limits the number of calls.
"""

from collections.abc import Iterator

from h2.errors import ErrorCodes

from ttsw.grpc_trio import frames
from ttsw.grpc_trio.settings import Settings

MAX_FRAME_BYTES = 16_384
"""Initial SETTINGS_MAX_FRAME_SIZE of HTTP/2, never raised here (RFC 9113, section 6.5.2)."""

HEADER_LISTS_PER_PIECE = 4
"""Header lists decoded between two checkpoints."""

PREFACE_BYTES = len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
"""Length of the client's connection preface."""

_ACK = 1
_END_STREAM = 1


class FloodError(Exception):
    """The peer sends frames of one kind faster than any well-behaved client."""

    code = ErrorCodes.ENHANCE_YOUR_CALM


class FrameSizeError(FloodError):
    """The peer sends a frame above the size limit."""

    code = ErrorCodes.FRAME_SIZE_ERROR


class _Bucket:
    """A token bucket: `per_s` tokens per second, at most `burst` at once."""

    __slots__ = ("_burst", "_per_s", "_tokens", "_updated_at")

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._tokens = burst
        self._updated_at = 0.0

    def take(self, now: float, count: int = 1) -> bool:
        self._tokens = min(self._burst, self._tokens + (now - self._updated_at) * self._per_s)
        self._updated_at = now
        self._tokens -= count
        return self._tokens >= 0


class FloodGuard:
    """Counts the frames in a peer's byte stream, received in arbitrary pieces."""

    def __init__(self, settings: Settings, *, skip_bytes: int = PREFACE_BYTES) -> None:
        self._resets = _Bucket(settings.max_resets_per_s, settings.max_resets_per_s + settings.max_concurrent_streams)
        self._pings = _Bucket(settings.max_pings_per_s, 2 * settings.max_pings_per_s)
        self._settings = _Bucket(settings.max_settings_per_s, 2 * settings.max_settings_per_s)
        self._empty_data = _Bucket(settings.max_empty_data_per_s, 2 * settings.max_empty_data_per_s)
        self._header_bytes = _Bucket(settings.max_header_bytes_per_s, 2 * settings.max_header_bytes_per_s)
        self._max_continuations = settings.max_continuations
        self._continuations = 0
        self._skip = skip_bytes
        self._head = b""

    def split(self, data: bytes, now: float) -> Iterator[bytes]:
        """Check received bytes and yield them in pieces with a few header lists each.

        Decoding a header list can expand it a thousandfold, and the reader lets other tasks run between pieces.

        Raises:
            FloodError: Frames of one kind arrive too often.
            FrameSizeError: A frame exceeds the size limit.
        """
        start = len(self._head)  # the kept part of a frame's head was already yielded
        data = self._head + data
        offset, size, lists = self._skip, len(data), 0
        while offset + frames.HEAD_BYTES <= size:
            length, kind, flags, _ = frames.parse_head(data, offset)
            if length > MAX_FRAME_BYTES:  # h2 would buffer the whole frame before rejecting it
                raise FrameSizeError(f"a frame of {length} bytes exceeds the limit of {MAX_FRAME_BYTES} bytes")
            self._count(kind, flags, length, now)
            lists += kind == frames.HEADERS
            if lists > HEADER_LISTS_PER_PIECE and offset > start:
                yield data[start:offset]
                start, lists = offset, 1
            offset += frames.HEAD_BYTES + length
        self._head = data[offset:] if offset < size else b""
        self._skip = max(0, offset - size)
        yield data[start:]

    def count_headers(self, size: int, now: float) -> None:
        """Count a decoded header list of `size` bytes.

        Raises:
            FloodError: Header bytes arrive too fast.
        """
        if not self._header_bytes.take(now, size):
            raise FloodError("too many header bytes")

    def count_reset(self, now: float) -> None:
        """Count a reset or refused call.

        Raises:
            FloodError: Resets arrive too fast.
        """
        if not self._resets.take(now):
            raise FloodError("too many resets")

    def _count(self, kind: int, flags: int, length: int, now: float) -> None:
        if kind == frames.DATA:
            if not length and not flags & _END_STREAM and not self._empty_data.take(now):
                raise FloodError("too many empty DATA frames")
        elif kind == frames.CONTINUATION:
            self._continuations += 1
            if self._continuations > self._max_continuations:
                raise FloodError("too many CONTINUATION frames")
        elif kind == frames.HEADERS:
            self._continuations = 0
        elif kind == frames.RST_STREAM:
            self.count_reset(now)
        elif kind == frames.SETTINGS:
            if not flags & _ACK and not self._settings.take(now):
                raise FloodError("too many SETTINGS frames")
        elif kind != frames.WINDOW_UPDATE and not (kind == frames.PING and flags & _ACK) and not self._pings.take(now):
            raise FloodError("too many PING, PRIORITY or unknown frames")
