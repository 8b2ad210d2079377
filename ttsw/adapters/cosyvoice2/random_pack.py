"""Makes a CosyVoice 2 voice pack of random weights, through the library's own classes.

`python ttsw/adapters/cosyvoice2/random_pack.py FOLDER tiny` does it under the family's interpreter, if that finds ttsw.

`tiny` is spoken with on one core and takes 9 MB: widths that the library fixes stay, so large tensors of one shape
share their values and are stored as 16-bit numbers. `full` has all sizes of CosyVoice2-0.5B, 2.4 GB. A segment ends
some tokens after the least that the library wants. The two ONNX graphs are of a layer or two, with the inputs and
outputs of the real ones; they are written byte by byte, so that no `onnx` is needed.
"""

import json
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soundfile
import torch

from ttsw.adapters.cosyvoice2.definition import read_definition
from ttsw.adapters.cosyvoice2.imports import Qwen2Config
from ttsw.adapters.cosyvoice2.modules import make_model

Size = Literal["tiny", "full"]

SEED_TEXT = "Glue the sheet to the dark blue background."
WORDS = [
    "The",
    "birch",
    "canoe",
    "slid",
    "on",
    "the",
    "smooth",
    "planks",
    "Glue",
    "the",
    "sheet",
    "to",
    "the",
    "dark",
    "blue",
    "background",
    "Hello",
    "there",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "How",
    "do",
    "you",
    "You",
    "It",
    "is",
    "a",
    "and",
    "of",
    "in",
]
SHARED = 4_000
"""Tensors of as many values share them with others of their shape, in a tiny model."""
END = 0.15
"""How likely each token after the least is the last."""

# https://huggingface.co/FunAudioLLM/CosyVoice2-0.5B: cosyvoice2.yaml and CosyVoice-BlankEN/config.json
FULL: dict[str, Any] = {
    "hidden": 896,
    "layers": 24,
    "heads": 14,
    "groups": 2,
    "wide": 4864,
    "vocabulary": 151_936,
    "speech": 6561,
    "units": 2048,
    "blocks": 6,
    "channels": 256,
    "head": 64,
    "inner": 4,
    "middle": 12,
    "estimator_heads": 8,
    "base": 512,
    "pitch": 512,
}
TINY: dict[str, Any] = {
    "hidden": 64,
    "layers": 2,
    "heads": 4,
    "groups": 2,
    "wide": 96,
    "vocabulary": 640,
    "speech": 81,
    "units": 64,
    "blocks": 1,
    "channels": 64,
    "head": 32,
    "inner": 1,
    "middle": 2,
    "estimator_heads": 2,
    "base": 64,
    "pitch": 32,
}


def build(folder: Path, size: Size, seed: int = 0) -> None:
    """Write a voice pack, with ref/seed.wav, what is said in it, and metadata.yaml.

    Args:
        folder: Where to; made if it isn't there. Its name is the model's.
        size: Which sizes the model has.
        seed: The same seed gives the same pack.

    Raises:
        ValueError: There is no such size.
    """
    if size not in {"tiny", "full"}:
        raise ValueError(f"size {size!r} is not there; tiny and full are")
    sizes, text = (FULL if size == "full" else TINY), folder / "CosyVoice-BlankEN"
    for each in (text, folder / "ref"):
        each.mkdir(parents=True, exist_ok=True)
    (folder / "cosyvoice2.yaml").write_text(_DEFINITION.format(**sizes), "utf-8")
    config = _write_text_model(text, sizes)
    _write_weights(folder, config, seed, small=size == "tiny")
    chance = np.random.default_rng(seed)
    (folder / "campplus.onnx").write_bytes(_speaker_graph(chance))
    (folder / "speech_tokenizer_v2.onnx").write_bytes(_token_graph(chance, sizes["speech"]))
    soundfile.write(folder / "ref" / "seed.wav", voice(3.0, seed), 24_000, "PCM_16")
    (folder / "ref" / "seed.txt").write_text(SEED_TEXT + "\n", "utf-8")
    metadata = _METADATA.format(name=folder.name, size=size, cpu_ok=str(size == "tiny").lower())
    (folder / "metadata.yaml").write_text(metadata, "utf-8")


def voice(seconds: float, seed: int = 0, rate: int = 24_000) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Synthesise something like a voice: harmonics of a wandering pitch, in syllables.

    Args:
        seconds: How much of it, s.
        seed: Whose it is.
        rate: Its sample rate, Hz.

    Returns:
        Audio, shape (n,), float32, with its peak at 0.5.
    """
    chance = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    pitch = chance.uniform(90, 220) * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * time))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    tones = chance.uniform(0.1, 1, 20)
    sound = sum(gain * np.sin((number + 1) * phase) / (number + 1) for number, gain in enumerate(tones))
    sound = sound * np.clip(np.sin(2 * np.pi * 2 * time) + 0.6, 0, 1) + 0.01 * chance.standard_normal(len(time))
    return np.asarray(0.5 * sound / np.abs(sound).max(), np.float32)


def _write_text_model(folder: Path, sizes: dict[str, Any]) -> Qwen2Config:
    """Write the text model's configuration and tokenizer: bytes, and the words above as one token each."""
    symbols = [*map(chr, range(33, 127)), *map(chr, range(161, 173)), *map(chr, range(174, 256))]
    symbols += [chr(256 + number) for number in range(256 - len(symbols))]
    merges: list[tuple[str, str]] = []
    for word in (f"{space}{word}" for word in WORDS for space in ("", "\u0120")):
        for end in range(2, len(word) + 1):
            if (pair := (word[: end - 1], word[end - 1])) not in merges:
                merges.append(pair)
    names = dict.fromkeys([*symbols, *("".join(pair) for pair in merges)])
    (folder / "vocab.json").write_text(json.dumps({name: number for number, name in enumerate(names)}), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), "utf-8")
    config = Qwen2Config(
        vocab_size=max(sizes["vocabulary"], len(names) + 32),
        hidden_size=sizes["hidden"],
        intermediate_size=sizes["wide"],
        num_hidden_layers=sizes["layers"],
        num_attention_heads=sizes["heads"],
        num_key_value_heads=sizes["groups"],
        max_position_embeddings=32_768,
        rope_theta=1_000_000.0,
        tie_word_embeddings=True,
        use_sliding_window=False,
    )
    (folder / "config.json").write_text(json.dumps(config.to_dict(), indent=2, default=str), "utf-8")
    tokenizer = {"tokenizer_class": "Qwen2Tokenizer", "model_max_length": 32_768, "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer | {"eos_token": "<|endoftext|>"}), "utf-8")
    return config


def _write_weights(folder: Path, config: Qwen2Config, seed: int, *, small: bool) -> None:
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = make_model(read_definition(folder / "cosyvoice2.yaml"), config)
    with torch.no_grad():
        llm, hift = model.llm, model.hift
        for layer in llm.llm.model.model.layers.modules():
            if isinstance(layer, torch.nn.Linear):
                layer.weight.mul_(30 / config.hidden_size**0.5)  # so that a small model, too, hears what was said
        llm.llm_decoder.weight.mul_(3**0.5)  # logits of a deviation of 1
        llm.llm_decoder.weight[-3:] = 0
        llm.llm_decoder.bias[-2:] = -9.0
        llm.llm_decoder.bias[-3] = float(np.log(END * llm.speech_token_size * np.e**0.5))
        model.flow.decoder.estimator.final_proj.weight.mul_(0.3)
        hift.f0_predictor.classifier.bias.fill_(150.0)  # Hz
        hift.f0_predictor.classifier.weight.mul_(300)
        hift.conv_post.parametrizations.weight.original0.mul_(3)
    for part in ("llm", "flow", "hift"):
        shared: dict[tuple[int, ...], torch.Tensor] = {}
        state = getattr(model, part).state_dict()
        for name, values in state.items():
            if small and part != "llm" and values.numel() >= SHARED:
                state[name] = shared.setdefault(tuple(values.shape), values.half())
        torch.save(state, folder / f"{part}.pt")


def _speaker_graph(chance: np.random.Generator) -> bytes:
    """From 80 bands, shape (1, frames, 80), to an embedding, shape (1, 192): how far they go on average, mapped."""
    weights = chance.standard_normal((80, 192)).astype(np.float32) / 9
    nodes = [
        _node("Abs", ["input"], ["away"]),  # their mean is taken off before
        _node("ReduceMean", ["away"], ["mean"], axes=[1], keepdims=0),
        _node("MatMul", ["mean", "weights"], ["output"]),
    ]
    inputs = [_value("input", 1, ["B", "T", 80])]
    return _graph(nodes, {"weights": weights}, inputs, [_value("output", 1, ["B", 192])])


def _token_graph(chance: np.random.Generator, tokens: int) -> bytes:
    """From 128 bands, shape (1, 128, frames), to 25 tokens a second, shape (1, frames / 4)."""
    weights = chance.standard_normal((tokens, 128, 4)).astype(np.float32)
    nodes = [
        _node("Conv", ["feats", "weights"], ["scores"], kernel_shape=[4], strides=[4]),
        _node("ArgMax", ["scores"], ["best"], axis=1, keepdims=0),
        _node("Cast", ["feats_length"], ["length"], to=7),  # it must be used, or it isn't asked for
        _node("Mul", ["length", "nothing"], ["zero"]),
        _node("Add", ["best", "zero"], ["sum"]),
        _node("Cast", ["sum"], ["indices"], to=6),
    ]
    inputs = [_value("feats", 1, [1, 128, "T"]), _value("feats_length", 6, [1])]
    stored = {"weights": weights, "nothing": np.zeros(1, np.int64)}
    return _graph(nodes, stored, inputs, [_value("indices", 6, [1, "N"])])


# Protocol Buffers by hand, of onnx.proto: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _node(kind: str, inputs: list[str], outputs: list[str], **attributes: int | list[int]) -> bytes:
    node = b"".join(_bytes(1, name) for name in inputs) + b"".join(_bytes(2, name) for name in outputs)
    node += _bytes(4, kind)
    for name, value in attributes.items():
        if isinstance(value, int):
            attribute = _number(3, value) + _number(20, 2)
        else:
            attribute = b"".join(_number(8, each) for each in value) + _number(20, 7)
        node += _bytes(5, _bytes(1, name) + attribute)
    return node


def _value(name: str, kind: int, shape: list[int | str]) -> bytes:
    sizes = (_number(1, each) if isinstance(each, int) else _bytes(2, each) for each in shape)
    tensor = _number(1, kind) + _bytes(2, b"".join(_bytes(1, each) for each in sizes))
    return _bytes(1, name) + _bytes(2, _bytes(1, tensor))


def _tensor(name: str, values: np.ndarray[Any, Any]) -> bytes:
    sizes = b"".join(_number(1, each) for each in values.shape)
    return sizes + _number(2, 1 if values.dtype == np.float32 else 7) + _bytes(8, name) + _bytes(9, values.tobytes())


def _graph(nodes: list[bytes], stored: dict[str, Any], inputs: list[bytes], outputs: list[bytes]) -> bytes:
    graph = b"".join(_bytes(1, node) for node in nodes) + _bytes(2, "random")
    graph += b"".join(_bytes(5, _tensor(name, values)) for name, values in stored.items())
    graph += b"".join(_bytes(11, each) for each in inputs) + b"".join(_bytes(12, each) for each in outputs)
    return _number(1, 8) + _bytes(7, graph) + _bytes(8, _bytes(1, "") + _number(2, 13))


_DEFINITION = """\
# set random seed, so that you may reproduce your result.
__set_seed1: !apply:random.seed [1986]
__set_seed2: !apply:numpy.random.seed [1986]
__set_seed3: !apply:torch.manual_seed [1986]
__set_seed4: !apply:torch.cuda.manual_seed_all [1986]

sample_rate: 24000
llm_input_size: {hidden}
llm_output_size: {hidden}
spk_embed_dim: 192
qwen_pretrain_path: ''
token_frame_rate: 25
token_mel_ratio: 2
chunk_size: 25
num_decoding_left_chunks: -1

llm: !new:cosyvoice.llm.llm.Qwen2LM
    llm_input_size: !ref <llm_input_size>
    llm_output_size: !ref <llm_output_size>
    speech_token_size: {speech}
    length_normalized_loss: True
    lsm_weight: 0
    mix_ratio: [5, 15]
    llm: !new:cosyvoice.llm.llm.Qwen2Encoder
        pretrain_path: !ref <qwen_pretrain_path>
    sampling: !name:cosyvoice.utils.common.ras_sampling
        top_p: 0.8
        top_k: 25
        win_size: 10
        tau_r: 0.1

flow: !new:cosyvoice.flow.flow.CausalMaskedDiffWithXvec
    input_size: 512
    output_size: 80
    spk_embed_dim: !ref <spk_embed_dim>
    output_type: 'mel'
    vocab_size: {speech}
    input_frame_rate: !ref <token_frame_rate>
    only_mask_loss: True
    token_mel_ratio: !ref <token_mel_ratio>
    pre_lookahead_len: 3
    encoder: !new:cosyvoice.transformer.upsample_encoder.UpsampleConformerEncoder
        output_size: 512
        attention_heads: 8
        linear_units: {units}
        num_blocks: {blocks}
        dropout_rate: 0.1
        positional_dropout_rate: 0.1
        attention_dropout_rate: 0.1
        normalize_before: True
        input_layer: 'linear'
        pos_enc_layer_type: 'rel_pos_espnet'
        selfattention_layer_type: 'rel_selfattn'
        input_size: 512
        use_cnn_module: False
        macaron_style: False
        static_chunk_size: !ref <chunk_size>
    decoder: !new:cosyvoice.flow.flow_matching.CausalConditionalCFM
        in_channels: 240
        n_spks: 1
        spk_emb_dim: 80
        cfm_params: !new:omegaconf.DictConfig
            content:
                sigma_min: 1e-06
                solver: 'euler'
                t_scheduler: 'cosine'
                training_cfg_rate: 0.2
                inference_cfg_rate: 0.7
                reg_loss_type: 'l1'
        estimator: !new:cosyvoice.flow.decoder.CausalConditionalDecoder
            in_channels: 320
            out_channels: 80
            channels: [{channels}]
            dropout: 0.0
            attention_head_dim: {head}
            n_blocks: {inner}
            num_mid_blocks: {middle}
            num_heads: {estimator_heads}
            act_fn: 'gelu'
            static_chunk_size: !ref <chunk_size> * <token_mel_ratio>
            num_decoding_left_chunks: !ref <num_decoding_left_chunks>

hift: !new:cosyvoice.hifigan.generator.HiFTGenerator
    in_channels: 80
    base_channels: {base}
    nb_harmonics: 8
    sampling_rate: !ref <sample_rate>
    nsf_alpha: 0.1
    nsf_sigma: 0.003
    nsf_voiced_threshold: 10
    upsample_rates: [8, 5, 3]
    upsample_kernel_sizes: [16, 11, 7]
    istft_params:
        n_fft: 16
        hop_len: 4
    resblock_kernel_sizes: [3, 7, 11]
    resblock_dilation_sizes: [[1, 3, 5], [1, 3, 5], [1, 3, 5]]
    source_resblock_kernel_sizes: [7, 7, 11]
    source_resblock_dilation_sizes: [[1, 3, 5], [1, 3, 5], [1, 3, 5]]
    lrelu_slope: 0.1
    audio_limit: 0.99
    f0_predictor: !new:cosyvoice.hifigan.f0_predictor.ConvRNNF0Predictor
        num_class: 1
        in_channels: 80
        cond_channels: {pitch}

mel_spec_transform1: !name:matcha.utils.audio.mel_spectrogram
    n_fft: 1920
    num_mels: 80
    sampling_rate: !ref <sample_rate>
    hop_size: 480
    win_size: 1920
    fmin: 0
    fmax: null
    center: False
hifigan: !new:cosyvoice.hifigan.hifigan.HiFiGan
    generator: !ref <hift>
    mel_spec_transform: [
        !ref <mel_spec_transform1>
    ]

parquet_opener: !name:cosyvoice.dataset.processor.parquet_opener
get_tokenizer: !name:cosyvoice.tokenizer.tokenizer.get_qwen_tokenizer
    token_path: !ref <qwen_pretrain_path>
    skip_special_tokens: True
allowed_special: 'all'
feat_extractor: !name:matcha.utils.audio.mel_spectrogram
    n_fft: 1920
    num_mels: 80
    sampling_rate: !ref <sample_rate>
    hop_size: 480
    win_size: 1920
    fmin: 0
    fmax: 8000
    center: False
data_pipeline: [
    !ref <parquet_opener>,
]
"""

_METADATA = """\
family: cosyvoice2
model_id: {name}
version: "0"
capabilities:
  streaming: true
  zero_shot: true
  lora: false
  cpu_ok: {cpu_ok}
  emotive_zero_prompt: true
languages: [en, zh, ja, ko]
audio:
  sample_rate: 24000
  channels: 1
tags: [random, {size}]
license: none; the weights are random numbers
files:
  cosyvoice2.yaml: cosyvoice2.yaml
  llm.pt: llm.pt
  flow.pt: flow.pt
  hift.pt: hift.pt
  campplus.onnx: campplus.onnx
  speech_tokenizer_v2.onnx: speech_tokenizer_v2.onnx
  text_config.json: CosyVoice-BlankEN/config.json
  text_merges.txt: CosyVoice-BlankEN/merges.txt
  text_tokenizer_config.json: CosyVoice-BlankEN/tokenizer_config.json
  text_vocab.json: CosyVoice-BlankEN/vocab.json
  seed.wav: ref/seed.wav
  seed.txt: ref/seed.txt
"""


if __name__ == "__main__":
    build(Path(sys.argv[1]), sys.argv[2])  # type: ignore[arg-type]  # build says what is valid
