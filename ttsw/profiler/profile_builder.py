"""Builds a profile of what was found: facts, disturbances, and what a server is to run by."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime

from ttsw.profiler.findings import Findings
from ttsw.profiles.derivation import HEADROOM, LEAST_HEADROOM_MB, derive
from ttsw.profiles.schema import DeviceFacts, HostFacts, ModelFacts, Profile, Slo


def headroom_mb(memory_mb: float) -> float:
    """Memory that is left to others, of a device that has so much: as a server will be told to leave it.

    >>> headroom_mb(24_000), headroom_mb(1_000)
    (1200.0, 256.0)
    """
    return max(LEAST_HEADROOM_MB, HEADROOM * memory_mb)


def build(
    findings: Findings,
    *,
    name: str,
    date: datetime,
    device: DeviceFacts,
    host: HostFacts,
    software: Mapping[str, str],
    slo: Slo,
    disturbances: Iterable[str],
    notes: str = "",
    whole: bool = True,
) -> Profile:
    """Build a profile.

    Args:
        findings: What was found.
        name: Its name.
        date: When.
        device: What was measured.
        host: Where.
        software: Versions.
        slo: What was kept to.
        disturbances: What disturbed.
        notes: What a reader should know.
        whole: Whether the measurement came to its end.
    """
    models = findings.facts()
    floor_mb = findings.floor_mb() if device.kind == "cpu" else context_mb(models)
    derived = derive(
        models,
        device.memory_mb,
        floor_mb=floor_mb or 0.0,
        processes=int(device.kind == "cpu"),  # the server's own; that of a GPU's engine is in its model's size
        interference=findings.interference,
    )
    return Profile(
        name=name,
        provenance="measured" if whole else "partial",
        date=date,
        device=device,
        host=host,
        software=dict(software),
        slo=slo,
        floor_mb=floor_mb,
        disturbances=(*disturbances, *findings.notes),
        models=models,
        interference=tuple(findings.interference),
        derived=derived,
        notes=notes,
    )


def context_mb(models: Mapping[str, ModelFacts]) -> float | None:
    """What a process has of a GPU beyond its engine's tensors: the least of the models; None if none tells."""
    beyond = [each.size_mb - each.allocated_mb for each in models.values() if each.allocated_mb]
    return round(max(0.0, min(beyond)), 1) if beyond else None


def name_of(device: DeviceFacts) -> str:
    """Give a profile of a device a name.

    >>> name_of(DeviceFacts(kind="cpu", name="Xeon", memory_mb=8e3, cores=2))
    'cpu-2core'
    >>> name_of(DeviceFacts(kind="gpu", name="NVIDIA GeForce RTX 4090", memory_mb=24e3))
    'rtx-4090'
    """
    if device.kind == "cpu":
        return f"cpu-{device.cores or 1}core"
    words = re.findall(r"[a-z0-9]+", device.name.lower())
    return "-".join(word for word in words if word not in {"nvidia", "geforce", "tesla"})[:100].strip("-") or "gpu"
