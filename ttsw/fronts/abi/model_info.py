"""ModelInfo: what a client is told of each voice pack."""

from collections.abc import Callable, Mapping
from typing import Any

from ttsw.fronts.abi.generated.tts import ModelInfo
from ttsw.models.instances import ModelState
from ttsw.models.manager import ModelManager, ModelStatus
from ttsw.models.measurements import ModelSize
from ttsw.packs.capabilities import ModelCapabilities
from ttsw.packs.catalogue import Catalogue
from ttsw.types import VoicePack

MB = 1e6


def model_infos(
    shelf: Catalogue,
    manager: ModelManager[Any],
    measured: Mapping[str, Mapping[str, ModelSize]],
    about: Mapping[str, Mapping[str, str]] | None = None,
    infos: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    limit_of: Callable[[str], int] | None = None,
) -> list[ModelInfo]:
    """Describe every pack on the shelf, the broken ones with their fault, and models whose pack is no more.

    Args:
        shelf: The packs.
        manager: The models in memory.
        measured: What is known of models from earlier loads, by id and device.
        about: Where those in memory run, by id.
        infos: What those in memory say of themselves, by id.
        limit_of: How many sessions a model takes where it has the worker to itself.
    """
    packs = {**manager.packs, **shelf.packs}
    faults = dict.fromkeys(manager.packs, "its voice pack has been removed; the model stays until it is unloaded")
    faults |= {**shelf.broken, **dict.fromkeys(shelf.packs, "")}
    told = [
        _info(
            pack,
            ModelCapabilities.of(pack, (infos or {}).get(key)),
            manager.status(key),
            measured.get(key, {}),
            {
                "last_error": faults[key] or manager.status(key).error,
                "max_sessions": str(limit_of(key)) if limit_of else "",
                **(about or {}).get(key, {}),
            },
        )
        for key, pack in packs.items()
    ]
    return told + [_broken(key, shelf) for key in shelf.broken if key not in packs]


def _info(
    pack: VoicePack,
    able: ModelCapabilities,
    status: ModelStatus,
    measured: Mapping[str, ModelSize],
    more: Mapping[str, str],
) -> ModelInfo:
    known = next(iter(measured.values()), None)
    size = status.size if status.device else known.size if known else 0
    load_s = status.load_s or (known.load_s if known else None)
    told = {
        "state": status.state.value,
        "version": pack.version,
        "license": pack.license,
        "source": pack.source,
        "sample_rate": str(pack.sample_rate),
        "vram_mb": f"{pack.vram_mb:g}",
        "disk_mb": f"{pack.disk_mb:g}",
        "tags": ",".join(pack.tags),
        "capabilities": ",".join(able.capabilities.names()),
        "base": pack.base,
        "device": status.device,
        "size_mb": f"{size / MB:.1f}" if status.device or known else "",
        "load_s": "" if load_s is None else f"{load_s:.2f}",
        "leases": str(status.leases),
        "idle_s": "" if status.idle_s is None else f"{status.idle_s:.1f}",
        **more,
    }
    return ModelInfo(
        model_id=pack.model_id,
        family=pack.family,
        is_loaded=status.state is ModelState.READY,
        languages=list(able.languages),
        metadata={name: text for name, text in told.items() if text},
    )


def _broken(model_id: str, shelf: Catalogue) -> ModelInfo:
    state = "incomplete" if model_id in shelf.incomplete else "broken"
    folder = shelf.folders.get(model_id)
    family = folder.parent.name if folder else model_id.partition("-")[0]
    return ModelInfo(model_id=model_id, family=family, metadata={"state": state, "last_error": shelf.broken[model_id]})
