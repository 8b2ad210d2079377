"""Types shared by all layers: voice packs, capabilities, memory snapshots."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
"""Mono audio, shape (n,), float32, full scale at ±1."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Capabilities of a model, or of a worker by all its models. Names are those on the wire."""

    streaming: bool = True
    zero_shot: bool = False
    lora: bool = False
    cpu_ok: bool = True
    emotive_zero_prompt: bool = False

    def names(self) -> tuple[str, ...]:
        """Return the names of the capabilities that are true."""
        return tuple(each.name for each in fields(self) if getattr(self, each.name))


@dataclass(frozen=True, slots=True)
class VoicePack:
    """One loadable model as described by its voice pack; its files exist, but nothing is loaded.

    Args:
        family: The engine family, as in the entry point group `ttsw.adapters`.
        name: The model's name within the family ("en-us-joe-medium").
        sample_rate: The model's sample rate, Hz.
        files: The pack's files by role ("model.onnx", "config.json").
        checksums: Expected SHA-256 by role, in hex, for the files that have one.
        options: The pack's defaults for the family's options.
        base: Full id of the model that this one is based on, such as a LoRA voice's; empty for an independent model.
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
    """A device's memory at one moment, bytes.

    Args:
        device: The device: `cpu`, `cuda:0`.
        total: Total memory, within this process's limits.
        used: Memory in use by any program, without reclaimable caches.
        ours: Memory in use by this process and its children.
    """

    device: str
    total: int
    used: int
    ours: int

    @property
    def free(self) -> int:
        """Free memory, bytes."""
        return max(0, self.total - self.used)
