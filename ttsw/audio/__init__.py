"""The audio chain: numpy in, 20 ms frames of 48 kHz PCM out. It knows no loop, no clock and no log.

>>> import numpy as np
>>> spoken = 0.1 * np.sin(np.arange(22_050) * (2 * np.pi * 220 / 22_050))  # a second of an engine's audio
>>> [len(frame.tobytes()) for frame in frame_audio(resample(spoken))] == [1920] * 50
True
>>> chain = Chain(22_050, gain=Calibration(lufs=-25.0, speech_s=8.0).gain(target_lufs=-16.0))
>>> len(chain.push(spoken) + chain.finish())
96000
"""

from ttsw.audio.adaptive import AdaptiveGain
from ttsw.audio.chain import Chain
from ttsw.audio.framing import Framer, frame_audio, to_pcm
from ttsw.audio.gain import FixedGain, Gain
from ttsw.audio.limiter import Limiter
from ttsw.audio.loudness import Calibration, calibrate, load_meter, measure_lufs, normalize_lufs, normalize_rms
from ttsw.audio.mix import to_mono
from ttsw.audio.resample import StreamResampler, resample

__all__ = [
    "AdaptiveGain",
    "Calibration",
    "Chain",
    "FixedGain",
    "Framer",
    "Gain",
    "Limiter",
    "StreamResampler",
    "calibrate",
    "frame_audio",
    "load_meter",
    "measure_lufs",
    "normalize_lufs",
    "normalize_rms",
    "resample",
    "to_mono",
    "to_pcm",
]
