"""What a call has received: bytes in, whole gRPC messages out. Pure: knows no HTTP/2 and no clock."""

from collections import deque

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from ttsw.grpc_trio.frames import PREFIX_BYTES, parse_prefix


class MessageReader:
    """Messages of one direction of one call, in order, each of at most `max_message_bytes`.

    A fault in the stream (a message too large, compressed or cut short) comes out of `take` after the messages
    before it, as GRPCError.
    """

    __slots__ = ("_fault", "_max_message_bytes", "_partial", "_whole", "_whole_bytes", "ended", "taken")

    def __init__(self, max_message_bytes: int) -> None:
        self._max_message_bytes = max_message_bytes
        self._whole: deque[bytes] = deque()
        self._whole_bytes = 0
        self._partial = bytearray()
        self._fault: GRPCError | None = None
        self.ended = False
        self.taken = 0

    def __repr__(self) -> str:
        state = "faulty" if self._fault else "ended" if self.ended else "open"
        return f"<Inbox {state}, {len(self._whole)} whole messages, {len(self._partial)} bytes of the next>"

    @property
    def held_bytes(self) -> int:
        """What is received and not yet taken, bytes."""
        return self._whole_bytes + len(self._partial)

    @property
    def hungry(self) -> bool:
        """Whether the reader can only go on with more bytes, so that asking for them keeps memory bounded."""
        return not self._whole and self._fault is None and not self.ended

    def feed(self, data: bytes) -> None:
        """Add received bytes; after a fault they are dropped."""
        if self._fault is not None:
            return
        self._partial += data
        while len(self._partial) >= PREFIX_BYTES:
            compressed, size = parse_prefix(self._partial)
            if compressed or size > self._max_message_bytes:
                self._fail(_fault_of_prefix(compressed, size, self._max_message_bytes))
                return
            end = PREFIX_BYTES + size
            if len(self._partial) < end:
                return
            self._whole.append(bytes(self._partial[PREFIX_BYTES:end]))
            self._whole_bytes += size
            del self._partial[:end]

    def end(self) -> None:
        """Note that the peer sends no more."""
        self.ended = True
        if self._partial:
            self._fail(GRPCError(Status.INTERNAL, "the stream ended within a message"))

    def take(self) -> bytes | None:
        """Return the next whole message; None means none is there (yet, or, with `ended`, ever).

        Raises:
            GRPCError: Nothing after the messages taken so far can be read.
        """
        if self._whole:
            self.taken += 1
            message = self._whole.popleft()
            self._whole_bytes -= len(message)
            return message
        if self._fault is not None:
            raise self._fault
        return None

    def drop(self, fault: GRPCError) -> None:
        """Let go of all that is not yet taken; `take` raises `fault` from now on."""
        self._whole.clear()
        self._whole_bytes = 0
        self._fail(fault)

    def _fail(self, fault: GRPCError) -> None:
        self._fault = fault
        self._partial.clear()


def _fault_of_prefix(compressed: int, size: int, limit: int) -> GRPCError:
    if compressed:
        return GRPCError(Status.INTERNAL, "a message is marked as compressed, but no grpc-encoding was agreed")
    return GRPCError(Status.RESOURCE_EXHAUSTED, f"a message of {size} bytes exceeds the limit of {limit} bytes")
