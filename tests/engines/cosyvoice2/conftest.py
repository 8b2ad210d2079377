"""A tiny model of random weights, as a pack, as an adapter, and as the library loads it."""

from pathlib import Path

import pytest
import torch

from tests.engines.cosyvoice2.library import load_library
from ttsw.adapters.base import EngineSettings
from ttsw.adapters.cosyvoice2 import random_pack
from ttsw.adapters.cosyvoice2.adapter import CosyVoice2Adapter
from ttsw.types import VoicePack

FILES = {
    "cosyvoice2.yaml": "cosyvoice2.yaml",
    "llm.pt": "llm.pt",
    "flow.pt": "flow.pt",
    "hift.pt": "hift.pt",
    "campplus.onnx": "campplus.onnx",
    "speech_tokenizer_v2.onnx": "speech_tokenizer_v2.onnx",
    "text_config.json": "CosyVoice-BlankEN/config.json",
    "text_merges.txt": "CosyVoice-BlankEN/merges.txt",
    "text_tokenizer_config.json": "CosyVoice-BlankEN/tokenizer_config.json",
    "text_vocab.json": "CosyVoice-BlankEN/vocab.json",
    "seed.wav": "ref/seed.wav",
    "seed.txt": "ref/seed.txt",
}

torch.set_num_threads(1)


def read_pack(root: Path, languages=("en", "zh"), **more) -> VoicePack:
    return VoicePack(
        family="cosyvoice2",
        name=root.name,
        root=root,
        languages=languages,
        sample_rate=24_000,
        files={role: root / path for role, path in (FILES | more).items()},
    )


@pytest.fixture(scope="session")
def pack(tmp_path_factory):
    root = tmp_path_factory.mktemp("packs") / "tiny"
    random_pack.build(root, "tiny")
    return read_pack(root)


@pytest.fixture(scope="session")
def adapter(pack, tmp_path_factory):
    adapter = CosyVoice2Adapter.load(pack, EngineSettings(concurrency=3, cache=tmp_path_factory.mktemp("cache")))
    adapter.prepare({})
    return adapter


@pytest.fixture(scope="session")
def model(adapter):
    return adapter._model


@pytest.fixture(scope="session")
def voice(adapter):
    return adapter._prompts.find({}, "en").voice


@pytest.fixture(scope="session")
def library(pack):
    """The model, loaded and run by the library itself: its `CosyVoice2Model`."""
    return load_library(pack.root)
