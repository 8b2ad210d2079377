"""The bounds of a connection: every number that a peer could push against. Decides nothing."""

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Limits of one server or channel; sizes are bytes, durations (`_s`) are seconds and `inf` means none.

    Attributes:
        max_connections: Connections at once on a server; one more is closed on arrival.
        max_concurrent_streams: Calls at once on a connection; one more is refused (REFUSED_STREAM).
        max_message_bytes: Largest message received; a larger one gets RESOURCE_EXHAUSTED.
        max_header_list_bytes: Largest header list received, decoded, with 32 bytes for each header (RFC 9113, section
            6.5.2); a larger one gets RESOURCE_EXHAUSTED, one twice as large costs the peer its connection.
        max_header_bytes_per_s: Decoded header bytes of a connection in the long run; the burst is twice as much. A
            few bytes on the wire can name 16 KiB of headers again and again.
        max_queued_bytes: Output queued on a connection above which senders wait.
        window_bytes: Input that one call may hold unread before its sender must wait.
        max_unread_bytes: Input that all calls of a connection may hold unread; beyond it, the call with most of it ends
            with RESOURCE_EXHAUSTED.
        max_resets_per_s: Calls that a peer may reset per second in the long run; the burst is
            `max_concurrent_streams` more. The limits below allow a burst of twice their number.
        max_pings_per_s: PING, PRIORITY and unknown frames together.
        max_settings_per_s: SETTINGS frames.
        max_empty_data_per_s: DATA frames that neither carry a byte nor end a call.
        max_continuations: CONTINUATION frames of one header block.
        preface_s: Time for TLS and HTTP/2 to be agreed.
        idle_s: Time without a call after which a server lets a connection go.
        keepalive_s: Silence of a peer after which it is sent a PING.
        keepalive_timeout_s: Silence after that PING until the connection counts as lost.
        flush_s: Time for the last bytes of a connection that ends.
        data_through_h2: Let h2 write DATA frames. The bytes are the same and cost ten times as much; for tests.
    """

    max_connections: int = 1024
    max_concurrent_streams: int = 1024
    max_message_bytes: int = 4 * 1024 * 1024
    max_header_list_bytes: int = 16 * 1024
    max_header_bytes_per_s: int = 512 * 1024
    max_queued_bytes: int = 64 * 1024
    window_bytes: int = 64 * 1024
    max_unread_bytes: int = 8 * 1024 * 1024
    max_resets_per_s: int = 200
    max_pings_per_s: int = 1000
    max_settings_per_s: int = 20
    max_empty_data_per_s: int = 100
    max_continuations: int = 16
    preface_s: float = 10.0
    idle_s: float = inf
    keepalive_s: float = 60.0
    keepalive_timeout_s: float = 20.0
    flush_s: float = 1.0
    data_through_h2: bool = False
