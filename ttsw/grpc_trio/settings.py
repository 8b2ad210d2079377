"""Limits of a server or channel that protect it against its peers."""

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Limits of one server or channel. Sizes are bytes; durations (`_s`) are seconds, and `inf` disables them.

    Attributes:
        max_connections: Concurrent connections of a server; further ones are closed immediately.
        max_concurrent_streams: Concurrent calls per connection; further ones are refused with REFUSED_STREAM.
        max_message_bytes: Largest received message; a larger one fails with RESOURCE_EXHAUSTED.
        max_header_list_bytes: Largest received header list, decoded, plus 32 bytes per header (RFC 9113, section
            6.5.2). A larger one fails with RESOURCE_EXHAUSTED; one over twice as large ends the connection.
        max_header_bytes_per_s: Decoded header bytes of a connection per second on average; the burst is twice as
            much. A few bytes on the wire can refer to 16 KiB of headers repeatedly.
        max_queued_bytes: Output queued on a connection above which senders wait.
        window_bytes: Unread input per call above which the peer must wait.
        max_unread_bytes: Unread input of all calls of a connection; above it, the call with the most unread input
            fails with RESOURCE_EXHAUSTED.
        max_resets_per_s: Calls that a peer may reset per second on average; the burst is `max_concurrent_streams`
            more. The per-second limits below allow a burst of twice their value.
        max_pings_per_s: PING, PRIORITY and unknown frames together.
        max_settings_per_s: SETTINGS frames.
        max_empty_data_per_s: DATA frames that neither carry data nor end a call.
        max_continuations: CONTINUATION frames per header block.
        preface_s: Timeout of the TLS handshake, and of the HTTP/2 preface.
        idle_s: Time without calls after which a connection is drained.
        keepalive_s: Time without input after which a PING is sent.
        keepalive_timeout_s: Time without input after that PING, until the connection is closed as lost.
        flush_s: Time limit for writing the last bytes of a closing connection.
        data_through_h2: Let h2 write DATA frames, for tests. The output is the same, at ten times the cost.
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
