"""Ready-made AudioFrames, as the worker would encode them."""

from ttsw.fronts.abi.audio_frame import FrameEncoder
from ttsw.sessions.frames import Frame
from ttsw.units import FRAME_BYTES, FRAME_SAMPLES

PCM = bytes(range(256)) * (FRAME_BYTES // 256) + bytes(FRAME_BYTES % 256)


def encoded_frames(count: int) -> list[bytes]:
    """Encode the frames of one utterance."""
    encoder = FrameEncoder("load-000")
    return [encoder.encode(Frame(PCM, n, n == count, n // 100, (n - 1) * FRAME_SAMPLES)) for n in range(1, count + 1)]
