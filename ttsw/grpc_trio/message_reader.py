"""Message reader: splits a call's received bytes into gRPC messages. Pure, independent of HTTP/2."""

from collections import deque

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from ttsw.grpc_trio.frames import PREFIX_BYTES, parse_prefix


class MessageReader:
    """Reads the messages of one direction of a call, each of at most `max_message_bytes`.

    A message that is too large, compressed or truncated raises GRPCError from `next_message`, after the messages
    before it.

    Attributes:
        ended: Whether the peer has ended its stream.
        read_count: Number of messages returned so far.
    """

    __slots__ = ("_fault", "_max_message_bytes", "_message_bytes", "_messages", "_partial", "ended", "read_count")

    def __init__(self, max_message_bytes: int) -> None:
        self._max_message_bytes = max_message_bytes
        self._messages: deque[bytes] = deque()
        self._message_bytes = 0
        self._partial = bytearray()
        self._fault: GRPCError | None = None
        self.ended = False
        self.read_count = 0

    def __repr__(self) -> str:
        state = "failed" if self._fault else "ended" if self.ended else "open"
        return f"<MessageReader {state}, {len(self._messages)} whole messages, {len(self._partial)} bytes of the next>"

    @property
    def buffered_bytes(self) -> int:
        """Received and unread data, bytes."""
        return self._message_bytes + len(self._partial)

    @property
    def needs_input(self) -> bool:
        """Whether no whole message is buffered and more input may follow."""
        return not self._messages and self._fault is None and not self.ended

    def feed(self, data: bytes) -> None:
        """Add received bytes; discard them after a fault."""
        if self._fault is not None:
            return
        self._partial += data
        while len(self._partial) >= PREFIX_BYTES:
            compressed, size = parse_prefix(self._partial)
            if compressed or size > self._max_message_bytes:
                self._fail(_prefix_error(compressed, size, self._max_message_bytes))
                return
            end = PREFIX_BYTES + size
            if len(self._partial) < end:
                return
            self._messages.append(bytes(self._partial[PREFIX_BYTES:end]))
            self._message_bytes += size
            del self._partial[:end]

    def end(self) -> None:
        """Record the end of the peer's stream."""
        self.ended = True
        if self._partial:
            self._fail(GRPCError(Status.INTERNAL, "the stream ended within a message"))

    def next_message(self) -> bytes | None:
        """Return the next whole message, or None if none is buffered. With `ended` set, no message follows.

        Raises:
            GRPCError: The next message is too large, compressed or truncated, or the input was discarded.
        """
        if self._messages:
            self.read_count += 1
            message = self._messages.popleft()
            self._message_bytes -= len(message)
            return message
        if self._fault is not None:
            raise self._fault
        return None

    def discard(self, fault: GRPCError) -> None:
        """Discard all unread input; `next_message` raises `fault` from now on."""
        self._messages.clear()
        self._message_bytes = 0
        self._fail(fault)

    def _fail(self, fault: GRPCError) -> None:
        self._fault = fault
        self._partial.clear()


def _prefix_error(compressed: int, size: int, limit: int) -> GRPCError:
    if compressed:
        return GRPCError(Status.INTERNAL, "a message is marked as compressed, but no grpc-encoding was negotiated")
    return GRPCError(Status.RESOURCE_EXHAUSTED, f"a message of {size} bytes exceeds the limit of {limit} bytes")
