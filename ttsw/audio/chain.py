"""The chain: what an engine speaks becomes frames for the wire.

This file decides the order of the stages and how they are ended. Per segment: mono and finite, faded at its edges,
brought to its level (at the engine's rate, which is the cheaper place), resampled, and the resampler emptied. Over
the whole utterance: the limiter and the framer, which know no segments. Pacing, sequence numbers and the final frame
are left to the session.
"""

import numpy as np
from numpy.typing import NDArray

from ttsw.audio.framing import Framer
from ttsw.audio.gain import FixedGain, Gain
from ttsw.audio.limiter import Limiter
from ttsw.audio.mix import to_mono
from ttsw.audio.resample import StreamResampler
from ttsw.audio.seams import SegmentFader
from ttsw.types import Samples


class Chain:
    """One utterance's way from an engine's chunks to 20 ms frames of 48 kHz mono s16le.

    Cheap to make, so there is no reset: one chain an utterance. After an error or a stop, drop it.

    >>> chain = Chain(24_000, gain=6.0)
    >>> frames = chain.push(np.zeros(24_000, np.float32)) + chain.finish()
    >>> len(frames) // 1920
    50

    Args:
        source_rate: The engine's rate, Hz.
        gain: What sets the level, or a fixed gain in dB.
        ceiling_dbtp: What no true peak exceeds, dBTP.

    Raises:
        InvalidArgumentError: `source_rate` is not positive.
    """

    def __init__(self, source_rate: int, gain: Gain | float = 0.0, *, ceiling_dbtp: float = -1.0) -> None:
        self._gain: Gain = FixedGain(gain) if isinstance(gain, (int, float)) else gain
        self._fader = SegmentFader(source_rate)
        self._resampler = StreamResampler(source_rate)
        self._limiter = Limiter(ceiling_dbtp)
        self._framer = Framer()
        self.samples_in = 0
        """Samples taken so far, at the engine's rate."""
        self.samples_out = 0
        """Samples returned so far, in whole frames, at 48 kHz."""
        self.segment_start = 0
        """Where the present segment begins, in samples at 48 kHz; `end_segment` moves it to the end of the last."""
        self._resampled = 0

    def push(self, chunk: NDArray[np.generic]) -> bytes:
        """Take an engine's next chunk and return the frames that it completes.

        Args:
            chunk: Shape (n,) or (n, channels), n ≥ 0; floats with full scale at ±1, or int16; of any length.

        Returns:
            Whole frames, one after another: a multiple of 1920 bytes, maybe none.

        Raises:
            InternalError: `chunk` is no audio, or has samples that are NaN or infinite.
        """
        samples = to_mono(chunk, start=self.samples_in)
        self.samples_in += len(samples)
        return self._frame(self._resampler.push(self._gain.apply(self._fader.push(samples))))

    def end_segment(self) -> bytes:
        """Tell that the engine has spoken a segment to its end; the next chunk belongs to another inference.

        All of the segment is let through but the limiter's 3 ms and what doesn't fill a frame.

        Returns:
            Whole frames, as from `push`.
        """
        frames = self._frame(self._resampler.finish(self._gain.apply(self._fader.finish())))
        self.segment_start = self._resampled
        return frames

    def finish(self) -> bytes:
        """End the utterance: return all that is left, the last frame padded with zeros. No push may follow.

        Returns:
            Whole frames, as from `push`; none where there was no audio.
        """
        whole = self.end_segment()
        last = self._framer.push(self._limiter.finish()) + self._framer.finish()
        self.samples_out += len(last) // 2
        return whole + last

    def _frame(self, samples: Samples) -> bytes:
        self._resampled += len(samples)
        frames = self._framer.push(self._limiter.push(samples))
        self.samples_out += len(frames) // 2
        return frames
