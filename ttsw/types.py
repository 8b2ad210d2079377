"""The nouns that layers share: a voice pack, what a model is and can do."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
"""Mono audio, shape (n,), float32, full scale at ±1."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model, or a worker by the sum of its models, can do. Names are those of the wire."""

    streaming: bool = True
    zero_shot: bool = False
    lora: bool = False
    cpu_ok: bool = True
    emotive_zero_prompt: bool = False

    def names(self) -> tuple[str, ...]:
        """Name what is true."""
        return tuple(each.name for each in fields(self) if getattr(self, each.name))


@dataclass(frozen=True, slots=True)
class VoicePack:
    """One loadable model as its pack describes it, files found but nothing loaded.

    Args:
        family: The engine family, the name of its entry point in the group `ttsw.adapters`.
        name: The model's name within the family ("en-us-joe-medium").
        sample_rate: The rate at which the model speaks, Hz.
        files: The pack's files by role ("model.onnx", "config.json"); each exists.
        checksums: The sha256 that a file must have, in hex, by role; of those that the pack gives one for.
        options: Defaults for the family's options in this pack.
        base: The full id of the model that this one is based on, as a LoRA voice does; empty where it stands by itself.
    """

    family: str
    name: str
    root: Path
    version: str = "1.0"
    capabilities: Capabilities = Capabilities()
    languages: tuple[str, ...] = ()
    sample_rate: int = 48_000
    channels: int = 1
    vram_mb: float = 0.0
    disk_mb: float = 0.0
    tags: tuple[str, ...] = ()
    license: str = ""
    source: str = ""
    files: Mapping[str, Path] = field(default_factory=dict)
    checksums: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    base: str = ""

    @property
    def model_id(self) -> str:
        """The full id: `<family>-<name>`."""
        return f"{self.family}-{self.name}"


@dataclass(frozen=True, slots=True)
class MemorySnapshot:
    """A device's memory at a moment, bytes.

    Args:
        device: The device: `cpu`, `cuda:0`.
        total: What there is (for this process: a container's limit counts).
        used: What is taken, by whomever; memory that the system gives back on demand (caches) isn't.
        ours: What this process and its children have of it.
    """

    device: str
    total: int
    used: int
    ours: int

    @property
    def free(self) -> int:
        """What is left, bytes."""
        return max(0, self.total - self.used)
