"""A tiny model of random weights, as a pack, as an adapter, and as the library loads it."""

from pathlib import Path

import pytest
import torch

from ttsw.adapters.base import EngineSettings
from ttsw.adapters.xtts import random_pack
from ttsw.adapters.xtts.adapter import XttsAdapter
from ttsw.adapters.xtts.imports import Xtts, XttsConfig
from ttsw.types import VoicePack

FILES = {"model.pth": "model.pth", "config.json": "config.json", "vocab.json": "vocab.json", "seed.wav": "ref/seed.wav"}

torch.set_num_threads(1)


def read_pack(root: Path, languages=("en", "de", "zh-cn"), **more) -> VoicePack:
    return VoicePack(
        family="xtts-v2",
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
    adapter = XttsAdapter.load(pack, EngineSettings(concurrency=3, cache=tmp_path_factory.mktemp("cache")))
    adapter.prepare({})
    return adapter


@pytest.fixture(scope="session")
def library(pack):
    """The model, loaded and run by the library itself."""
    config = XttsConfig()
    config.load_json(str(pack.files["config.json"]))
    model = Xtts(config)
    model.load_checkpoint(config, checkpoint_dir=str(pack.root), eval=True)
    return model
