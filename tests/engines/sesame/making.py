"""What the tests of this family say, ask of the library, and have made."""

import warnings
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel
from transformers import CsmForConditionalGeneration

from ttsw.adapters.sesame.sampling import CsmSampling, SamplingDefaults
from ttsw.types import VoicePack

BOOKS = 8
"""A quarter of the codebooks of the real model, to be quick."""

GREEDY = SamplingDefaults(CsmSampling(1.0, 1), CsmSampling(1.0, 1))
TEXTS = ("The birch canoe slid on the smooth planks.", "One.", "Glue the sheet to the dark blue background.")
UNSPOKEN = [64, 65, 66]
"""Codes that the tiny backbone knows, and its codec doesn't."""


def read_pack(root: Path, base="", **more) -> VoicePack:
    files = {path.name: path for path in root.iterdir() if path.is_file() and path.name != "metadata.yaml"}
    if (root / "ref").is_dir():
        files["seed.wav"] = root / "ref" / "seed.wav"
    fields = {"family": "sesame", "name": root.name, "root": root, "languages": ("en",), "sample_rate": 24_000}
    return VoicePack(**(fields | {"files": files, "base": base} | more))


def by_peft(base, folder):
    """A model with a LoRA, loaded by the libraries."""
    model = CsmForConditionalGeneration.from_pretrained(base)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # transformers deprecates what peft uses of it
        return PeftModel.from_pretrained(model, folder).eval()


def generate(library, most=60, **inputs):
    """The frames that the library generates, by the likeliest codes: shape (frames, codebooks)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of settings that greedy search doesn't use
        found = library.generate(
            **inputs,
            do_sample=False,
            depth_decoder_do_sample=False,
            suppress_tokens=UNSPOKEN,
            depth_decoder_suppress_tokens=UNSPOKEN,
            max_new_tokens=most,
        )
    return found[0].numpy()


def ask(library, tokens, most=60):
    return generate(library, most, input_ids=torch.tensor([tokens]))


def open_(decoder, tokens, most=60, draws=GREEDY, seed=0, **more):
    return decoder.open(decoder.embed_text(tokens), most, draws, np.random.default_rng(seed), **more)


def step(decoder, rows):
    """Make a step, and let the rows take what it made."""
    made = decoder.step(rows)
    for row, result in zip(rows, made, strict=True):
        if result is not None:
            row.accept(result)
    return made


def finish(decoder, rows):
    """Make steps until all are done, and give all frames of each, the last included."""
    while going := [row for row in rows if not row.done]:
        step(decoder, going)
    return [np.stack(row._frames) for row in rows]
