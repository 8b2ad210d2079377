"""Intake: whatever array an engine hands out becomes mono float32 samples, or an error that says what was wrong.

This file decides what an engine may give. Rates, levels and lengths are left to the stages that follow, and they may
rely on this: shape (n,), float32, every sample finite.
"""

import numpy as np
from numpy.typing import NDArray

from ttsw.errors import InternalError
from ttsw.types import Samples

PCM_SCALE = 32_768.0
"""Integer value of full scale in 16-bit PCM. The same both ways, so that 16-bit audio passes the chain to the bit."""

MAX_CHANNELS = 8
"""More columns than this are taken for an array that lies on its side."""


def to_mono(chunk: NDArray[np.generic], *, start: int = 0) -> Samples:
    """Turn an engine's chunk into mono float32.

    >>> to_mono(np.array([[0.5, 0.25], [1.0, 0.0]]))
    array([0.375, 0.5  ], dtype=float32)

    Args:
        chunk: Shape (n,) or (n, channels); floats with full scale at ±1, or int16. Channels are averaged.
        start: Where the chunk begins in its stream, samples; only for the error's text.

    Returns:
        Shape (n,), float32; `chunk` itself where it was that already.

    Raises:
        InternalError: The type or the shape is none of these, or samples are NaN or infinite: a model's fault, which
            must not reach a listener as noise.
    """
    samples = _float32(chunk)
    if samples.ndim == 2 and 1 <= samples.shape[1] <= MAX_CHANNELS:
        samples = samples.mean(axis=1, dtype=np.float32)
    if samples.ndim != 1:
        raise InternalError(f"the engine gave audio of shape {chunk.shape}: it must be (n,) or (n, channels)")
    _check_finite(samples, start)
    return samples


def _float32(chunk: NDArray[np.generic]) -> Samples:
    if not isinstance(chunk, np.ndarray):  # an engine may have no types
        raise InternalError(f"the engine gave audio as {type(chunk).__name__}: it must be a numpy array")
    if chunk.dtype == np.int16:
        return chunk.astype(np.float32) / np.float32(PCM_SCALE)
    if chunk.dtype.kind != "f":
        raise InternalError(f"the engine gave audio of type {chunk.dtype}: it must be floats or int16")
    with np.errstate(over="ignore"):  # a float64 beyond float32 turns into inf, which is reported as such
        return chunk.astype(np.float32, copy=False)


def _check_finite(samples: Samples, start: int) -> None:
    finite = np.isfinite(samples)
    if finite.all():
        return
    bad = np.flatnonzero(~finite)
    raise InternalError(
        f"the model gave {bad.size} of {samples.size} samples as NaN or infinite, the first at {start + bad[0]}"
    )
