"""Buffer between the engine, which makes frames in bursts, and the listener, who takes them in real time.

`FrameBuffer` decides how far an engine may run ahead, and which frame is the last.
"""

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import trio

from ttsw.units import FRAME_BYTES, FRAME_SAMPLES


class Frame(NamedTuple):
    """20 ms of audio.

    Args:
        pcm: 1920 bytes of s16le mono at 48 kHz; empty only in an end marker.
        sequence: Sequence number within the utterance, from 1.
        final: Whether the utterance ends with this frame.
        segment: Index of the text segment at the frame's start, from 0.
        position: Number of the utterance's samples before this frame.
    """

    pcm: bytes
    sequence: int
    final: bool
    segment: int
    position: int


class FrameBuffer:
    """Frames not yet sent.

    The newest frame is held back while more may follow, since the last one carries the end mark; but not while the
    engine itself waits for text (`starved`).

    Args:
        capacity: Number of frames at which `room` makes the engine wait. Chunks are never split, so the buffer may
            exceed it by one chunk.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.starved = False
        self.excused = False
        self._chunks: deque[bytes] = deque()  # split into frames only when sent, so that no sample is stored twice
        self._gone = 0  # bytes of the first chunk already sent
        self._count = 0
        self._segments: deque[tuple[int, int]] = deque()
        self._segment = 0
        self.taken = 0
        self.made = 0
        self._closed = False
        self._broken = False
        self._watchers = trio.lowlevel.ParkingLot()
        self._makers = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return f"<FrameBuffer {self._count}/{self.capacity}{' closed' if self._closed else ''}>"

    def __len__(self) -> int:
        return self._count

    def put(self, pcm: bytes) -> None:
        """Add whole frames, concatenated."""
        if pcm:
            self.made += len(pcm) // FRAME_BYTES
            self._count += len(pcm) // FRAME_BYTES
            self._chunks.append(pcm)
        self.notify()

    def mark_segment(self, index: int, position: int) -> None:
        """Mark the beginning of segment `index` at sample `position`."""
        self._segments.append((position, index))

    def close(self) -> None:
        """Mark the end of the audio."""
        self._closed = True
        self.notify()

    def break_off(self) -> None:
        """Mark the end of the audio after a failure, without marking a last frame."""
        self._broken = True
        self.notify()

    @property
    def ended(self) -> bool:
        """Whether all frames up to the failure have been taken."""
        return self._broken and not self._count

    def starve(self, starved: bool) -> None:
        """Set whether the engine waits for text; delays then are not the engine's (`excused`)."""
        self.starved = starved
        if starved:
            self.excused = True
            self.notify()

    async def room(self) -> None:
        """Wait until the buffer is below its capacity."""
        while self._count >= self.capacity:
            await self._makers.park()

    async def changed(self) -> None:
        """Wait for more frames, for their end, or for `notify`."""
        await self._watchers.park()

    def notify(self) -> None:
        """Wake the task that waits for a change."""
        self._watchers.unpark_all()

    @property
    def available(self) -> int:
        """Number of frames that can be taken now. The end marker of an utterance without audio counts as one."""
        if self._closed and not self._broken:
            return max(1, self._count)
        return self._count if self.starved or self._broken else max(0, self._count - 1)

    def peek(self, most: float) -> list[Frame]:
        """Return the next frames, at most `most` and at least one; they stay until `drop`."""
        count = int(min(most, self.available))
        frames = [self._frame(at, pcm) for at, pcm in enumerate(islice(self._pcm(), min(count, self._count)))]
        if self._closed and not self._broken and len(frames) == self._count:
            last = frames.pop() if frames else self.end_marker()
            frames.append(last._replace(final=True))
        return frames

    def drop(self, count: int) -> int:
        """Remove frames that have been sent; return how many of them had audio."""
        audible = min(count, self._count)
        self._count -= audible
        self._gone += audible * FRAME_BYTES
        while self._chunks and self._gone >= len(self._chunks[0]):
            self._gone -= len(self._chunks.popleft())
        self.taken += count
        self.excused = self.starved
        if self._count < self.capacity:
            self._makers.unpark_all()
        return audible

    def end_marker(self) -> Frame:
        """Return the empty frame that ends an utterance."""
        return Frame(b"", self.taken + 1, True, self._segment, self.taken * FRAME_SAMPLES)

    def _pcm(self) -> Iterator[bytes]:
        gone = self._gone
        for chunk in self._chunks:
            for at in range(gone, len(chunk), FRAME_BYTES):
                yield chunk[at : at + FRAME_BYTES]
            gone = 0

    def _frame(self, at: int, pcm: bytes) -> Frame:
        number = self.taken + at
        position = number * FRAME_SAMPLES
        while self._segments and self._segments[0][0] <= position:
            self._segment = self._segments.popleft()[1]
        return Frame(pcm, number + 1, False, self._segment, position)
