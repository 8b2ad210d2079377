"""A tiny model of random weights, LoRA voices for it, and both as the libraries load them."""

import pytest
import torch
from transformers import CsmForConditionalGeneration

from tests.engines.sesame.making import BOOKS, by_peft, read_pack
from ttsw.adapters.base import EngineSettings
from ttsw.adapters.sesame import random_pack
from ttsw.adapters.sesame.adapter import SesameAdapter
from ttsw.adapters.sesame.checkpoint import load_model
from ttsw.adapters.sesame.files import read_tokenizer
from ttsw.adapters.sesame.frames import CsmDecoder
from ttsw.adapters.sesame.loras import Loras
from ttsw.adapters.sesame.text import CsmTextReader

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def packs(tmp_path_factory):
    """The folder of packs: `tiny`, the LoRAs `anna`, `bert` and `carl`, and `merged`, which is tiny and anna."""
    root = tmp_path_factory.mktemp("packs")
    random_pack.build(root / "tiny", "tiny", codebooks=BOOKS)
    random_pack.build_lora(root / "anna", root / "tiny", seed=1)
    random_pack.build_lora(root / "bert", root / "tiny", seed=2, rank=7, lora_alpha=5, use_rslora=True)
    random_pack.build_lora(root / "carl", root / "tiny", seed=3, rank=2, target_modules=["q_proj", "up_proj"])
    random_pack.build_merged(root / "merged", root / "tiny", seed=1, shards=3)
    return root


@pytest.fixture(scope="session")
def pack(packs):
    return read_pack(packs / "tiny")


@pytest.fixture(scope="session")
def adapter(pack, tmp_path_factory):
    return SesameAdapter.load(pack, EngineSettings(concurrency=3, cache=tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def model(pack):
    return load_model(pack, torch.device("cpu"))


@pytest.fixture(scope="session")
def reader(pack, model):
    return CsmTextReader(read_tokenizer(pack.files["tokenizer.json"], model.config), 512)


@pytest.fixture
def decoder(model):
    return CsmDecoder(model, Loras(model.device, model.kind), 64)


@pytest.fixture(scope="session")
def library(packs):
    """The model, loaded by the library itself."""
    return CsmForConditionalGeneration.from_pretrained(packs / "tiny").eval()


@pytest.fixture(scope="session")
def with_lora(packs):
    """The model with a LoRA, loaded by peft itself."""

    def load(name):
        return by_peft(packs / "tiny", packs / name)

    return load
