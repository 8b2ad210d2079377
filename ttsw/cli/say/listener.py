"""What a listener notices: when audio came, whether it would have run dry, how loud it was."""

from collections.abc import Callable

import numpy as np

from ttsw.audio import measure_lufs
from ttsw.units import FRAME_S, SAMPLE_RATE

MEASURED_S = 600.0
"""Audio that loudness is measured on, at most, s."""


class PlaybackListener:
    """Hears frames as they come, as a player without a jitter buffer would.

    Args:
        clock: Gives the time, s.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._asked_at = clock()
        self._plays_until: float | None = None
        self._pcm: list[bytes] = []
        self.frames = 0
        self.first_s: float | None = None
        self.took_s = 0.0
        self.underruns = 0
        self.largest_gap_s = 0.0

    @property
    def audio_s(self) -> float:
        """Audio heard so far, s."""
        return self.frames * FRAME_S

    def hear(self, pcm: bytes) -> None:
        """Take a frame; an empty one says that the text is handed over now."""
        now = self._clock()
        if not pcm:
            if not self.frames:
                self._asked_at = now
            return
        if self._plays_until is None:
            self.first_s = now - self._asked_at
        elif now - self._plays_until > 1e-9:  # sums of 0.02 are off by less
            self.underruns += 1
            self.largest_gap_s = max(self.largest_gap_s, now - self._plays_until)
        self._plays_until = max(now, self._plays_until or 0.0) + FRAME_S
        self.took_s = now - self._asked_at
        self.frames += 1
        if self.audio_s <= MEASURED_S:
            self._pcm.append(pcm)

    def summary(self, kept_in: str) -> str:
        """Tell it to a person, in one line."""
        assert self.first_s is not None, "there was audio"
        samples = np.frombuffer(b"".join(self._pcm), "<i2").astype(np.float32) / np.float32(32_768)
        gap = f" (largest {self.largest_gap_s * 1000:.0f} ms)" if self.underruns else ""
        return (
            f"{kept_in}: {self.audio_s:.2f} s of audio, first after {self.first_s * 1000:.0f} ms, all after "
            f"{self.took_s:.2f} s (RTF {self.took_s / self.audio_s:.3f}), {self.underruns} underruns{gap}, "
            f"{measure_lufs(samples, SAMPLE_RATE):.1f} LUFS"
        )
