"""What each reference server does: the same messages, and a flag for each session that ends its stream."""

import sys

from bench.references.frames import encoded_frames
from ttsw.fronts.abi.generated.tts import ControlRequest, TextChunk

SUCCESS = b"\x08\x01"  # field 1 of every answer is `success`
KEPT = 1_000


class Script:
    """The answers of a reference server, from the command line's number of frames."""

    def __init__(self) -> None:
        self.count = int(sys.argv[1])
        self._frames = encoded_frames(min(self.count, KEPT))
        self.stopped: set[str] = set()

    def begin(self, request: bytes) -> str:
        """Take the first TextChunk; returns the session's id."""
        session_id: str = TextChunk.parse(request).session_id
        self.stopped.discard(session_id)
        return session_id

    def control(self, request: bytes) -> None:
        """Stop a session's stream."""
        self.stopped.add(ControlRequest.parse(request).session_id)

    def frame(self, number: int) -> bytes:
        """The message with this number, from 0; they come round again."""
        return self._frames[number % KEPT]
