"""Pacing: when a frame may be sent, so that a listener is at most `lead_ms` ahead of real time.

HTTP/2 flow control doesn't limit playback (a client that stalls after one frame is sent 40 s of audio and more), so the
worker keeps a playout clock. It starts with the first frame, stops during a pause, and is moved back by an underrun:
lost time is not caught up. Pure: callers pass the time.
"""

import math

from ttsw.units import FRAME_S

JITTER_S = 0.005
"""Tolerated lateness of a frame before playback counts as dry, seconds."""


class Pacer:
    """The playout clock of one utterance.

    Args:
        lead_s: Most audio ahead of the listener, seconds, at least a frame; `inf` sends as fast as the listener reads.
    """

    def __init__(self, lead_s: float) -> None:
        self.lead_s = lead_s
        self.sent = 0
        self.late = 0
        self.underruns = 0
        self.largest_gap_s = 0.0
        self._start: float | None = None  # when playback of the first sample starts
        self._frozen_at: float | None = None

    def due(self, now: float) -> float:
        """Return when the next frame may be sent; `inf` during a pause."""
        if self._frozen_at is not None:
            return math.inf
        if self._start is None or math.isinf(self.lead_s):
            return now
        return self._start + (self.sent + 1) * FRAME_S - self.lead_s

    def allowance(self, now: float) -> float:
        """Return how many frames may be sent at `now`: 0, 1, 2 … or `inf`."""
        if self._frozen_at is not None:
            return 0
        if math.isinf(self.lead_s):
            return math.inf
        # After an underrun, playback continues from now, not from when the frame was due.
        start = now if self._start is None else max(self._start, now - self.sent * FRAME_S)
        # A timer may fire slightly early; a millionth of a frame is no lead.
        return max(0, math.floor((now + self.lead_s - start) / FRAME_S + 1e-6) - self.sent)

    def count(self, frames: int, now: float, *, excused: bool = False) -> None:
        """Record that frames were sent.

        Args:
            frames: Number of frames.
            now: The time.
            excused: Whether lateness is no underrun, since there was no text to speak.
        """
        if self._start is None:
            self._start = now
        elif not (excused or math.isinf(self.lead_s)):
            behind_s = now - JITTER_S - (self._start + (self.sent + 1) * FRAME_S - self.lead_s)
            self.late += max(0, min(frames, math.ceil(behind_s / FRAME_S)))
        gap_s = now - (self._start + self.sent * FRAME_S)
        # With an infinite lead there is no real-time playback, and so no underrun.
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
        """Restart the clock where it stopped."""
        if self._frozen_at is not None and self._start is not None:
            self._start += now - max(self._frozen_at, self._start)
        self._frozen_at = None
