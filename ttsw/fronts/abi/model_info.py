"""ModelInfo: the public description of each voice pack and its model."""

from collections.abc import Callable, Mapping
from typing import Any

from ttsw.fronts.abi.generated.tts import ModelInfo
from ttsw.models.instances import ModelState
from ttsw.models.manager import ModelManager, ModelStatus
from ttsw.models.measurements import ModelRecord
from ttsw.packs.capabilities import ModelCapabilities
from ttsw.packs.catalogue import Catalogue
from ttsw.sessions.calibration_record import NOTE, saved_lufs
from ttsw.types import VoicePack

MB = 1e6


def model_infos(
    catalogue: Catalogue,
    manager: ModelManager[Any],
    records: Mapping[str, ModelRecord],
    host_infos: Mapping[str, Mapping[str, str]] | None = None,
    engine_infos: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    session_limit: Callable[[str], int] | None = None,
) -> list[ModelInfo]:
    """Describe every pack, including broken ones with their error, and loaded models whose pack was removed.

    Args:
        catalogue: The voice packs.
        manager: The models in memory.
        records: Records of earlier loads, by model id.
        host_infos: Host information of the models in memory, by model id.
        engine_infos: Engine information of the models in memory, by model id.
        session_limit: Returns the session limit of a model that has the worker to itself.
    """
    packs = {**manager.packs, **catalogue.packs}
    errors = dict.fromkeys(
        manager.packs, "its voice pack has been removed; the model stays in memory until it is unloaded"
    )
    errors |= {**catalogue.broken, **dict.fromkeys(catalogue.packs, "")}
    infos = [
        _info(
            pack,
            ModelCapabilities.of(pack, (engine_infos or {}).get(key)),
            manager.status(key),
            records.get(key, ModelRecord()),
            {
                "last_error": errors[key] or manager.status(key).error,
                "max_sessions": str(session_limit(key)) if session_limit else "",
                **(host_infos or {}).get(key, {}),
            },
        )
        for key, pack in packs.items()
    ]
    return infos + [_broken(key, catalogue) for key in catalogue.broken if key not in packs]


def _info(
    pack: VoicePack,
    capabilities: ModelCapabilities,
    status: ModelStatus,
    record: ModelRecord,
    extra: Mapping[str, str],
) -> ModelInfo:
    measured = next(iter(record.measured.values()), None)
    size = status.size if status.device else measured.size if measured else 0
    load_s = status.load_s or (measured.load_s if measured else None)
    metadata = {
        "state": status.state.value,
        "version": pack.version,
        "license": pack.license,
        "source": pack.source,
        "sample_rate": str(pack.sample_rate),
        "vram_mb": f"{pack.vram_mb:g}",
        "disk_mb": f"{pack.disk_mb:g}",
        "tags": ",".join(pack.tags),
        "capabilities": ",".join(capabilities.capabilities.names()),
        "base": pack.base,
        "device": status.device,
        "size_mb": f"{size / MB:.1f}" if status.device or measured else "",
        "load_s": "" if load_s is None else f"{load_s:.2f}",
        "leases": str(status.leases),
        "digest": record.digest,
        "voice_lufs": _voice_lufs(record),
        "idle_s": "" if status.idle_s is None else f"{status.idle_s:.1f}",
        **extra,
    }
    return ModelInfo(
        model_id=pack.model_id,
        family=pack.family,
        is_loaded=status.state is ModelState.READY,
        languages=list(capabilities.languages),
        metadata={name: text for name, text in metadata.items() if text},
    )


def _voice_lufs(record: ModelRecord) -> str:
    """Return the calibrated loudness of a voice, LUFS; empty before its first load."""
    lufs = saved_lufs(record.notes.get(NOTE))
    return "" if lufs is None else f"{lufs:.2f}"


def _broken(model_id: str, catalogue: Catalogue) -> ModelInfo:
    state = "incomplete" if model_id in catalogue.incomplete else "broken"
    folder = catalogue.folders.get(model_id)
    family = folder.parent.name if folder else model_id.partition("-")[0]
    metadata = {"state": state, "last_error": catalogue.broken[model_id]}
    return ModelInfo(model_id=model_id, family=family, metadata=metadata)
