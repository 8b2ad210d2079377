"""Framing: samples become 16-bit PCM in frames of exactly 20 ms.

This file decides the rounding: full scale is 32 768, as for `to_mono`, so that 16-bit audio survives the way through
float32 to the bit; to the nearest integer, ties to even, because truncation adds a distortion of its own; +1.0 is
clipped to 32 767. There is no dither: at 16 bits the noise of any voice stands above the step.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ttsw.audio.mix import PCM_SCALE
from ttsw.errors import InvalidArgumentError
from ttsw.types import Samples
from ttsw.units import FRAME_BYTES, FRAME_SAMPLES


def to_pcm(samples: Samples) -> NDArray[np.int16]:
    """Turn float samples, full scale at ±1, into little-endian 16-bit PCM of the same shape, rounded and clipped.

    >>> to_pcm(np.array([-1.0, 0.25, 1.0], np.float32))
    array([-32768,   8192,  32767], dtype=int16)
    """
    scaled = samples * np.float32(PCM_SCALE)
    np.rint(scaled, out=scaled)
    np.clip(scaled, -32_768, 32_767, out=scaled)
    return scaled.astype("<i2")


def frame_audio(audio: NDArray[np.generic], frame_size: int = FRAME_SAMPLES) -> Iterator[NDArray[np.int16]]:
    """Cut audio into frames; the last is padded with zeros to full length.

    >>> [frame.tobytes().hex() for frame in frame_audio(np.array([0.5, -0.5, 0.25], np.float32), frame_size=2)]
    ['004000c0', '00200000']

    Args:
        audio: Shape (n,); floats with full scale at ±1, or int16, which passes as it is.
        frame_size: Samples in a frame.

    Yields:
        int16 arrays of shape (frame_size,); nothing where `audio` is empty.

    Raises:
        InvalidArgumentError: `frame_size` is below 1, or `audio` has another shape or type.
    """
    if frame_size < 1 or audio.ndim != 1 or (audio.dtype != np.int16 and audio.dtype.kind != "f"):
        raise InvalidArgumentError(f"cannot frame {audio.dtype} audio of shape {audio.shape} by {frame_size} samples")
    pcm = audio.astype("<i2", copy=False) if audio.dtype == np.int16 else to_pcm(audio.astype(np.float32, copy=False))
    for start in range(0, len(pcm), frame_size):
        frame = pcm[start : start + frame_size]
        yield np.pad(frame, (0, frame_size - len(frame))) if len(frame) < frame_size else frame


class Framer:
    """Turn a stream of samples into whole frames, as bytes; what doesn't fill a frame waits for the next push."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def pending(self) -> int:
        """Samples that wait for their frame to fill: 0 to 959."""
        return len(self._rest) // 2

    def push(self, samples: Samples) -> bytes:
        """Take samples, shape (n,), float32; return whole frames, a multiple of 1920 bytes, s16le."""
        data = self._rest + to_pcm(samples).tobytes()
        whole = len(data) - len(data) % FRAME_BYTES
        self._rest = data[whole:]
        return data[:whole]

    def finish(self) -> bytes:
        """Return the last frame, padded with zeros, or nothing where no sample waits."""
        rest, self._rest = self._rest, b""
        return rest.ljust(FRAME_BYTES, b"\0") if rest else b""
