"""The wire's fixed quantities, and conversions between units."""

SAMPLE_RATE = 48_000
"""Sample rate on the wire, Hz."""

FRAME_MS = 20
"""Duration of a frame, ms."""

FRAME_SAMPLES = SAMPLE_RATE * FRAME_MS // 1000
"""Samples in a frame: 960."""

FRAME_BYTES = FRAME_SAMPLES * 2
"""Bytes of a frame as 16-bit PCM: 1920."""

FRAME_S = FRAME_MS / 1000
"""Duration of a frame, s."""


def db_to_gain(db: float) -> float:
    """Convert decibels to an amplitude factor: 20 dB are a factor of 10."""
    return float(10.0 ** (db / 20.0))
