"""What families compute for a second of audio: figures of published configurations, and of this project's adapters.

Sizes of layers are those of the families' libraries and configurations; parameters are counted from them. What is an
assumption is called one.

A family that has no recipe can't be estimated.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Recipe(NamedTuple):
    """What a family computes.

    Args:
        steps_per_s: Steps of its transformer for a second of audio.
        step_mb: Weights that a step reads.
        step_gflop: What a step computes for each utterance, 10⁹ floating-point operations.
        step_launches: Operations that a step starts on the GPU.
        position_mb: Keys and values of a position.
        positions: Positions that a session may fill: voice, text and speech.
        prompt: Positions of voice and text before the first step.
        first_steps: Steps before the first chunk.
        first_s: How much audio that is, s.
        chunk_s: How much a later chunk is, s.
        flow_gflop: What a flow computes for a second of audio, in half precision.
        flow_launches: Operations that it starts for a chunk, for all utterances at once.
        codec_gflop: What a vocoder or codec computes for a second of audio, in single precision.
        codec_launches: Operations that it starts for a chunk of each utterance.
        places: Utterances that share a step.
        half: Whether weights are in half precision.
    """

    steps_per_s: float
    step_mb: float
    step_gflop: float
    step_launches: int
    position_mb: float
    positions: int
    prompt: int
    first_steps: int
    first_s: float
    chunk_s: float
    codec_gflop: float
    codec_launches: int
    flow_gflop: float = 0.0
    flow_launches: int = 0
    places: int = 8
    half: bool = True


_OPERATIONS = 12
"""Operations that a transformer's layer starts: two norms, four to seven products, positions, attention, activation,
two sums. Assumption, of a count in this project's adapters."""

_HIFIGAN_GFLOP = 58.0
"""HiFi-GAN, as XTTS has it (512 channels, halved in each of four stages that go up by 8, 8, 2, 2; kernels of 3, 7, 11
with six convolutions each), counted: 126 · channels² for each value of a stage, 26.4 · 10⁹ products for a second at
22.05 kHz, so 58 GFLOP at 24 kHz."""

_HIFIGAN_LAUNCHES = 400
"""Assumption: 4 stages, 3 kernels, 6 convolutions, as many activations, and what goes around them."""

RECIPES: Mapping[str, Recipe] = {
    # XTTS v2's published config.json: 30 layers of 1024 channels, 1026 audio tokens, a token for 1024 samples at
    # 22.05 kHz. A layer has 12 · 1024² parameters: 377.5 million, and 1.05 million of the head, in single precision as
    # the adapter loads them. Positions: 32 of the voice, 402 of text, 605 of speech. First chunk: 8 tokens, then 24
    # (ttsw/adapters/xtts). Prompt: the voice and 100 tokens of text (assumption).
    "xtts-v2": Recipe(
        steps_per_s=21.5,
        step_mb=1514,
        step_gflop=0.757,
        step_launches=30 * _OPERATIONS,
        position_mb=2 * 30 * 1024 * 4 / 1e6,
        positions=1039,
        prompt=132,
        first_steps=8,
        first_s=8 / 21.5,
        chunk_s=24 / 21.5,
        codec_gflop=_HIFIGAN_GFLOP,
        codec_launches=_HIFIGAN_LAUNCHES,
        half=False,
    ),
    # CosyVoice2-0.5B's published cosyvoice2.yaml and Qwen2's config.json: 24 layers of 896 channels, 4864 in between,
    # 2 heads of 64 for keys and values: 358 million parameters, 5.9 million of the head (6564 tokens), in half
    # precision. 25 tokens a second. The flow: 10 steps, each for the voice and without it; its estimator has about
    # 71 million parameters (flow.pt has 450 MB in single precision, its encoder about 40 million) and works on 50
    # frames a second: 10 · 2 · 2 · 71e6 · 50 = 142 GFLOP. A step of it starts about 850 operations: 14 blocks of a
    # convolution and 4 layers (assumption). The vocoder works like HiFi-GAN, at most (assumption: it leaves the last
    # stage to an inverse Fourier transform). First piece: 13 tokens, 0.36 s of them heard; then chunks of 1 s
    # (ttsw/adapters/cosyvoice2). Prompt: 6 s of recording and 100 tokens of text; positions: as far as 80 tokens of
    # text are spoken (assumptions).
    "cosyvoice2": Recipe(
        steps_per_s=25,
        step_mb=728,
        step_gflop=0.728,
        step_launches=24 * _OPERATIONS,
        position_mb=2 * 24 * 2 * 64 * 2 / 1e6,
        positions=2000,
        prompt=250,
        first_steps=13,
        first_s=0.36,
        chunk_s=1.0,
        flow_gflop=142,
        flow_launches=10 * 850,
        codec_gflop=_HIFIGAN_GFLOP,
        codec_launches=_HIFIGAN_LAUNCHES,
    ),
    # CSM-1B's published config.json: a backbone of 16 layers of 2048 channels, 8192 in between, 8 of 32 heads for keys
    # and values: 973 million parameters and 4.2 of the head; a depth decoder of 4 layers of 1024 channels, 8192 in
    # between, 2 of 8 heads of 128: 111 million, 2.1 of each head and 2.1 that come from the backbone. 12.5 frames a
    # second, each a step of the backbone and 31 of the depth decoder, in half precision (bfloat16):
    # 2 · (977 + 31 · 115) = 9084 MB read a frame. First chunk: one frame; then up to six (ttsw/adapters/sesame).
    # The codec: 10 GFLOP a second (assumption: 16 ms a frame on a CPU core that does 50 GFLOPS), 300 operations a chunk
    # (assumption). Positions: its limit, 2048. Prompt: 10 s of recording and 100 tokens of text (assumption).
    "sesame": Recipe(
        steps_per_s=12.5,
        step_mb=2 * (977 + 31 * 115),
        step_gflop=2 * (0.977 + 31 * 0.115),
        step_launches=(16 + 31 * 4) * _OPERATIONS,
        position_mb=2 * 16 * 8 * 64 * 2 / 1e6,
        positions=2048,
        prompt=225,
        first_steps=1,
        first_s=0.08,
        chunk_s=0.48,
        codec_gflop=10,
        codec_launches=300,
    ),
}
