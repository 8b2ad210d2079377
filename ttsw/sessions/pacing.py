"""When a frame may be sent: never more than `lead_ms` ahead of a listener who plays in real time.

HTTP/2 flow control is no playback limit (a client that stalls after one frame is sent 40 s of audio and more), so the
worker keeps a playout clock itself. It starts with the first frame, stands still in a pause, and is moved back by an
underrun: what a listener has waited for is not caught up with. Pure: callers bring the time.
"""

import math

from ttsw.units import FRAME_S

JITTER_S = 0.005
"""What a frame may be late before playback counts as dry; a player without any buffer would not notice less."""


class Pacer:
    """The playout clock of one utterance.

    Args:
        lead_s: How much audio a listener may have that is not yet heard, s, a frame or more; `inf` sends as fast as
            the listener reads.
    """

    def __init__(self, lead_s: float) -> None:
        self.lead_s = lead_s
        self.sent = 0
        self.late = 0
        self.underruns = 0
        self.largest_gap_s = 0.0
        self._start: float | None = None  # when the first sample is heard
        self._frozen_at: float | None = None

    def due(self, now: float) -> float:
        """When the next frame may be sent; `inf` in a pause."""
        if self._frozen_at is not None:
            return math.inf
        if self._start is None or math.isinf(self.lead_s):
            return now
        return self._start + (self.sent + 1) * FRAME_S - self.lead_s

    def allowance(self, now: float) -> float:
        """How many frames may be sent at `now`: 0, 1, 2 … or `inf`."""
        if self._frozen_at is not None:
            return 0
        if math.isinf(self.lead_s):
            return math.inf
        # What the listener has run out of is heard from now on, not from when it was due.
        start = now if self._start is None else max(self._start, now - self.sent * FRAME_S)
        # A timer may wake a hair early; a frame's millionth is no lead.
        return max(0, math.floor((now + self.lead_s - start) / FRAME_S + 1e-6) - self.sent)

    def count(self, frames: int, now: float, *, excused: bool = False) -> None:
        """Take note that `frames` were sent at `now`.

        Args:
            frames: How many.
            now: When.
            excused: Whether being late is no underrun, since there was no text to speak.
        """
        if self._start is None:
            self._start = now
        elif not (excused or math.isinf(self.lead_s)):
            behind_s = now - JITTER_S - (self._start + (self.sent + 1) * FRAME_S - self.lead_s)
            self.late += max(0, min(frames, math.ceil(behind_s / FRAME_S)))
        gap_s = now - (self._start + self.sent * FRAME_S)
        # At `inf` lead nobody plays along, so nothing can run dry.
        if gap_s > JITTER_S and not math.isinf(self.lead_s):
            self._start += gap_s
            if not excused:
                self.underruns += 1
                self.largest_gap_s = max(self.largest_gap_s, gap_s)
        self.sent += frames

    def freeze(self, now: float) -> None:
        """Stop the clock."""
        if self._frozen_at is None:
            self._frozen_at = now

    def thaw(self, now: float) -> None:
        """Let the clock go on where it stood."""
        if self._frozen_at is not None and self._start is not None:
            self._start += now - max(self._frozen_at, self._start)
        self._frozen_at = None
