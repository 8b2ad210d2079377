"""Which peers are a nuisance: counts cheap frames before h2 spends time on them. Pure: is given bytes and `now`.

Covers rapid reset, HPACK's amplification, and floods of PING, SETTINGS, PRIORITY, CONTINUATION, unknown and empty DATA
frames. What a single
frame may say is left to h2; how many calls may run to `connection`.
"""

from collections.abc import Iterator

from h2.errors import ErrorCodes

from ttsw.grpc_trio import frames
from ttsw.grpc_trio.settings import Settings

MAX_FRAME_BYTES = 16_384
"""HTTP/2's initial SETTINGS_MAX_FRAME_SIZE, which we never raise (RFC 9113, section 6.5.2)."""

LISTS_AT_ONCE = 4
"""Header lists that are decoded before others get their turn."""

PREFACE_BYTES = len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
_ACK = 1
_END_STREAM = 1


class FloodError(Exception):
    """The peer sends more of something than any honest client does."""

    code = ErrorCodes.ENHANCE_YOUR_CALM


class FrameSizeError(FloodError):
    """The peer sends a larger frame than it may."""

    code = ErrorCodes.FRAME_SIZE_ERROR


class _Bucket:
    """A token bucket: `per_s` in the long run, `burst` at once."""

    __slots__ = ("_burst", "_per_s", "_since", "_tokens")

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._tokens = burst
        self._since = 0.0

    def take(self, now: float, count: int = 1) -> bool:
        self._tokens = min(self._burst, self._tokens + (now - self._since) * self._per_s)
        self._since = now
        self._tokens -= count
        return self._tokens >= 0


class FloodGuard:
    """Scans the frame heads of what a peer sends, split anywhere."""

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

    def pieces(self, data: bytes, now: float) -> Iterator[bytes]:
        """Look at received bytes, and give them on in pieces with a few header lists each.

        A header list can cost a thousand times its bytes to decode, so the reader lets others run between pieces.

        Raises:
            FloodError: One kind of frame comes too often.
            FrameSizeError: A frame is larger than is allowed.
        """
        begun = len(self._head)  # of what is known from before, only a frame's head
        data = self._head + data
        offset, size, lists = self._skip, len(data), 0
        while offset + frames.HEAD_BYTES <= size:
            length, kind, flags, _ = frames.parse_head(data, offset)
            if length > MAX_FRAME_BYTES:  # h2 would gather all of it before it says no
                raise FrameSizeError(f"a frame of {length} bytes; at most {MAX_FRAME_BYTES} are allowed")
            self._count(kind, flags, length, now)
            lists += kind == frames.HEADERS
            if lists > LISTS_AT_ONCE and offset > begun:
                yield data[begun:offset]
                begun, lists = offset, 1
            offset += frames.HEAD_BYTES + length
        self._head = data[offset:] if offset < size else b""
        self._skip = max(0, offset - size)
        yield data[begun:]

    def count_headers(self, size: int, now: float) -> None:
        """Count a decoded header list of `size` bytes.

        Raises:
            FloodError: There are too many.
        """
        if not self._header_bytes.take(now, size):
            raise FloodError("too many header bytes")

    def count_reset(self, now: float) -> None:
        """Count a call that was begun only to be reset.

        Raises:
            FloodError: There are too many.
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
