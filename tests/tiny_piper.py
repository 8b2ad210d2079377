"""Makes a tiny Piper voice with random weights: the shape of a VITS graph, in a few kilobytes, speaking noise.

It has what the adapter looks for: noise drawn twice, durations that stretch ids to frames, a mask and a speaker that
cross into the back end, a residual block, two transposed convolutions. 32 samples a frame.
"""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from ttsw.types import VoicePack

RATE = 8_000
FRAME = 32

_GRAPH = """
<ir_version: 8, opset_import: ["" : 15]>
voice (int64[1,ids] input, int64[1] input_lengths, float[3] scales, int64[1] sid) => (float[1,1,1,samples] output)
<int64 i0 = {0}, int64 i1 = {1}, int64 i2 = {2}, int64[1] a0 = {0}, int64[1] a1 = {1}, int64[1] a2 = {2},
 float f0 = {0}, float f1 = {1}, float three = {3}, float third = {0.3}>
{
  noise_scale = Gather(scales, i0)
  length_scale = Gather(scales, i1)
  noise_w = Gather(scales, i2)
  rows = Gather(embedding, input)
  text = Transpose<perm = [0, 2, 1]>(rows)
  speaker_row = Gather(speakers, sid)
  speaker = Unsqueeze(speaker_row, a2)
  spoken = Add(text, speaker)

  ids = Shape<start = 2>(text)
  noise_shape = Concat<axis = 0>(a1, a2, ids)
  zeros = ConstantOfShape(noise_shape)
  w_noise = RandomNormalLike(zeros)
  w_scaled = Mul(w_noise, noise_w)
  w_sum = ReduceSum(w_scaled, a1)
  w_calm = Mul(w_sum, third)
  w_exp = Exp(w_calm)
  w_three = Mul(w_exp, three)
  w_long = Mul(w_three, length_scale)
  w = Ceil(w_long)

  ends = CumSum(w, i2)
  starts = Sub(ends, w)
  total = ReduceSum<keepdims = 0>(w)
  range = Range(f0, total, f1)
  ends_t = Transpose<perm = [0, 2, 1]>(ends)
  starts_t = Transpose<perm = [0, 2, 1]>(starts)
  begun = GreaterOrEqual(range, starts_t)
  unfinished = Less(range, ends_t)
  within = And(begun, unfinished)
  path = Cast<to = 1>(within)
  alive = Less(range, total)
  alive_float = Cast<to = 1>(alive)
  mask = Unsqueeze(alive_float, mask_axes)

  mean = MatMul(spoken, path)
  spread = Tanh(spoken)
  logs = MatMul(spread, path)
  noise = RandomNormalLike(mean)
  std = Exp(logs)
  n1 = Mul(noise, std)
  n2 = Mul(n1, noise_scale)
  z = Add(mean, n2)

  f_1 = Conv<kernel_shape = [5], pads = [2, 2], strides = [1], dilations = [1]>(z, flow_weight)
  f_2 = Mul(f_1, mask)
  f_3 = Tanh(f_2)
  flowed = Sub(z, f_3)
  masked = Mul(flowed, mask)
  d_0 = Conv<kernel_shape = [7], pads = [3, 3], strides = [1], dilations = [1]>(masked, pre_weight)
  d_1 = Add(d_0, speaker)
  d_2 = LeakyRelu(d_1)
  up_1 = ConvTranspose<kernel_shape = [8], pads = [2, 2], strides = [4], dilations = [1]>(d_2, up1_weight)
  r_1 = Conv<kernel_shape = [7], pads = [9, 9], strides = [1], dilations = [3]>(up_1, res_weight)
  d_3 = Add(up_1, r_1)
  d_4 = LeakyRelu(d_3)
  up_2 = ConvTranspose<kernel_shape = [16], pads = [4, 4], strides = [8], dilations = [1]>(d_4, up2_weight)
  d_5 = Conv<kernel_shape = [7], pads = [3, 3], strides = [1], dilations = [1]>(up_2, post_weight)
  d_6 = Tanh(d_5)
  output = Unsqueeze(d_6, a1)
}
"""
_SHAPES = {
    "embedding": (64, 8),
    "speakers": (3, 8),
    "flow_weight": (8, 8, 5),
    "pre_weight": (8, 8, 7),
    "up1_weight": (8, 4, 8),
    "res_weight": (4, 4, 7),
    "up2_weight": (4, 2, 16),
    "post_weight": (1, 2, 7),
}


def tiny_model(*changes: tuple[str, str], speakers: int = 1) -> onnx.ModelProto:
    """The graph, after `changes` (old text, new text) to its source; each must change it."""
    source = _GRAPH
    if speakers == 1:
        changes += ((", int64[1] sid", ""), ("Gather(speakers, sid)", "Gather(speakers, a0)"))
    for old, new in changes:
        assert old in source
        source = source.replace(old, new)
    model = onnx.parser.parse_model(source)
    chance = np.random.default_rng(1)
    for name, shape in _SHAPES.items():
        weight = chance.standard_normal(shape).astype(np.float32) * 0.3
        model.graph.initializer.append(numpy_helper.from_array(weight, name))
    model.graph.initializer.append(numpy_helper.from_array(np.array([0, 1]), "mask_axes"))
    return model


def tiny_config(speakers: int = 1) -> dict[str, object]:
    """A configuration as Piper writes it, for a voice that reads letters."""
    letters = "_^$ abcdefghijklmnopqrstuvwxyz.,!?"
    return {
        "audio": {"sample_rate": RATE},
        "espeak": {"voice": "en-us"},
        "phoneme_type": "text",
        "inference": {"noise_scale": 0.667, "length_scale": 1, "noise_w": 0.8},
        "phoneme_id_map": {letter: [number] for number, letter in enumerate(letters)},
        "num_symbols": 64,
        "num_speakers": speakers,
        "speaker_id_map": {"ann": 0, "bob": 1, "cyd": 2} if speakers == 3 else {},
    }


def tiny_bytes(speakers: int = 1) -> bytes:
    """The graph, as its file holds it."""
    data: bytes = tiny_model(speakers=speakers).SerializeToString()
    return data


def tiny_pack(root: Path, *changes: tuple[str, str], speakers: int = 1) -> VoicePack:
    """Write the voice to a folder, as voice.onnx and voice.onnx.json, and describe it."""
    onnx.save(tiny_model(*changes, speakers=speakers), root / "voice.onnx")
    (root / "voice.onnx.json").write_text(json.dumps(tiny_config(speakers)), "utf-8")
    files = {path.name: path for path in (root / "voice.onnx", root / "voice.onnx.json")}
    return VoicePack("piper", "tiny", root, sample_rate=RATE, files=files)
