"""Makes an XTTS-v2 voice pack of random weights, through the library's own classes.

`python ttsw/adapters/xtts/random_pack.py FOLDER tiny` does it under the family's interpreter, if that finds ttsw.

`tiny` has two small transformer layers, is spoken with on one core, and takes 21 MB: the vocoder's widths are fixed in
the library, so its large tensors of one shape share their values and are stored as 16-bit numbers. `full` has all sizes
of Coqui's XTTS-v2, 1.9 GB. Neither ever finds its end by itself; both need coqui-tts.
"""

import json
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soundfile
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from ttsw.adapters.xtts.imports import Xtts, XttsConfig

Size = Literal["tiny", "full"]

LANGUAGES = ["en", "es", "fr", "de", "it", "pt", "pl", "tr", "ru", "nl", "cs", "ar", "zh-cn", "ja", "hu", "ko", "hi"]
LETTERS = "!'(),-.:;?abcdefghijklmnopqrstuvwxyz0123456789äöüßéèáíóúñçàâêîôûœ"
PIECES = ["th", "he", "in", "er", "an", "re", "on", "at", "en", "nd", "st", "es", "ng", "ou", "ing", "and", "the"]

SHARED = 4_000
"""The vocoder's tensors of as many values share them with others of their shape, in a tiny model."""

# Of Coqui's XTTS-v2: https://huggingface.co/coqui/XTTS-v2, config.json and vocab.json.
FULL_VOCABULARY = 6681
FULL = {
    "gpt_layers": 30,
    "gpt_n_model_channels": 1024,
    "gpt_n_heads": 16,
    "gpt_max_audio_tokens": 605,
    "gpt_max_text_tokens": 402,
    "gpt_max_prompt_tokens": 70,
    "gpt_num_audio_tokens": 1026,
    "gpt_start_audio_token": 1024,
    "gpt_stop_audio_token": 1025,
    "gpt_use_perceiver_resampler": True,
    "decoder_input_dim": 1024,
}
# 24 tokens at most: a second of speech
TINY = FULL | {
    "gpt_layers": 2,
    "gpt_n_model_channels": 64,
    "gpt_n_heads": 4,
    "gpt_max_audio_tokens": 27,
    "decoder_input_dim": 64,
}


def build(folder: Path, size: Size, seed: int = 0, most_tokens: int | None = None) -> None:
    """Write a voice pack: model.pth, config.json, vocab.json, ref/seed.wav and metadata.yaml.

    Args:
        folder: Where to; made if it isn't there. Its name is the model's.
        size: Which sizes the model has.
        seed: The same seed gives the same pack.
        most_tokens: How many audio tokens an utterance may have, if not as many as is usual for the size.

    Raises:
        ValueError: There is no such size.
    """
    if size not in {"tiny", "full"}:
        raise ValueError(f"size {size!r} is not there; tiny and full are")
    (folder / "ref").mkdir(parents=True, exist_ok=True)
    tokenizer = _write_vocabulary(folder / "vocab.json", FULL_VOCABULARY if size == "full" else 0)
    sizes = FULL if size == "full" else TINY
    if most_tokens is not None:
        sizes = sizes | {"gpt_max_audio_tokens": most_tokens + 3}  # the library keeps some for itself
    config = _config(sizes, tokenizer)
    (folder / "config.json").write_text(json.dumps(config.to_dict(), indent=2), "utf-8")
    _write_weights(folder / "model.pth", config, seed, small=size == "tiny")
    soundfile.write(folder / "ref" / "seed.wav", voice(6.0, seed), 24_000, "PCM_16")
    metadata = _METADATA.format(name=folder.name, size=size, cpu_ok=str(size == "tiny").lower())
    (folder / "metadata.yaml").write_text(metadata, "utf-8")


def voice(seconds: float, seed: int = 0, rate: int = 24_000) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Synthesise something like a voice: harmonics of a wandering pitch through two formants, in syllables.

    Args:
        seconds: How much of it, s.
        seed: Whose it is: the pitch and the formants follow from it.
        rate: Its sample rate, Hz.

    Returns:
        Audio, shape (n,), float32, with its peak at 0.5.
    """
    chance = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    pitch = chance.uniform(90, 220) * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * time) + 0.03 * np.sin(2 * np.pi * 5 * time))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    formants = chance.uniform([300, 1000], [800, 2200])
    sound = np.zeros_like(time)
    for harmonic in range(1, 25):
        gain = sum(np.exp(-(((harmonic * pitch - formant) / 250) ** 2)) for formant in formants) + 0.05
        sound += gain * np.sin(harmonic * phase) / harmonic**0.5
    sound *= np.clip(np.sin(2 * np.pi * 2 * time) + 0.6, 0, 1)
    sound += 0.01 * chance.standard_normal(len(time))
    return np.asarray(0.5 * sound / np.abs(sound).max(), np.float32)


def _write_vocabulary(path: Path, size: int) -> Tokenizer:
    """Write a small BPE tokenizer that reads Latin letters, filled up to a size."""
    symbols = ["[STOP]", "[UNK]", "[SPACE]", *LETTERS, *PIECES]
    marks = [f"[{language}]" for language in LANGUAGES]
    special = ["[START]", *marks]
    fill = [f"<{number}>" for number in range(size - len(symbols) - len(special))]
    vocabulary = {symbol: number for number, symbol in enumerate([*symbols, *special, *fill])}
    merges = [(piece[:-1], piece[-1]) for piece in PIECES if piece[:-1] in vocabulary]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["[STOP]", "[UNK]", "[SPACE]", *special])
    tokenizer.save(str(path))
    return tokenizer


def _config(sizes: dict[str, Any], tokenizer: Tokenizer) -> XttsConfig:
    config = XttsConfig(temperature=0.75, repetition_penalty=5.0, top_k=50, top_p=0.85, gpt_cond_len=30, max_ref_len=30)
    for name, value in sizes.items():
        setattr(config.model_args, name, value)
    config.model_args.gpt_number_text_tokens = tokenizer.get_vocab_size()
    config.model_args.gpt_start_text_token = tokenizer.token_to_id("[START]")
    config.model_args.gpt_stop_text_token = tokenizer.token_to_id("[STOP]")
    return config


def _write_weights(path: Path, config: XttsConfig, seed: int, *, small: bool) -> None:
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = Xtts(config)
    shared: dict[tuple[int, ...], torch.Tensor] = {}
    state = model.state_dict()
    for name, values in state.items():
        if small and name.startswith("hifigan_decoder.") and values.numel() >= SHARED:
            state[name] = shared.setdefault(tuple(values.shape), values.half())
    torch.save({"model": state}, path)


_METADATA = """\
family: xtts-v2
model_id: {name}
version: "0"
capabilities:
  streaming: true
  zero_shot: true
  lora: false
  cpu_ok: {cpu_ok}
  emotive_zero_prompt: false
languages: [en, es, fr, de, it, pt, pl, tr, ru, nl, cs, ar, zh-cn, ja, hu, ko, hi]
audio:
  sample_rate: 24000
  channels: 1
tags: [random, {size}]
license: none; the weights are random numbers
files:
  model.pth: model.pth
  config.json: config.json
  vocab.json: vocab.json
  seed.wav: ref/seed.wav
"""


if __name__ == "__main__":
    build(Path(sys.argv[1]), sys.argv[2])  # type: ignore[arg-type]  # build says what is valid
