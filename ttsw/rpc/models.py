"""ModelInfo: what a client is told of each voice pack."""

from typing import Any

from ttsw.models.manager import ModelManager
from ttsw.rpc.generated.tts import ModelInfo
from ttsw.types import VoicePack


def model_infos(manager: ModelManager[Any]) -> list[ModelInfo]:
    """Describe every pack on the shelf, the broken ones with their fault."""
    shelf, residents = manager.shelf, manager.residents
    infos = [_info(pack, loaded=key in residents, loading=key in manager.loading) for key, pack in shelf.packs.items()]
    return infos + [_broken(key, fault) for key, fault in shelf.broken.items()]


def _info(pack: VoicePack, *, loaded: bool, loading: bool) -> ModelInfo:
    state = "ready" if loaded else "loading" if loading else "absent"
    told = {
        "state": state,
        "version": pack.version,
        "license": pack.license,
        "source": pack.source,
        "sample_rate": str(pack.sample_rate),
        "vram_mb": f"{pack.vram_mb:g}",
        "disk_mb": f"{pack.disk_mb:g}",
        "tags": ",".join(pack.tags),
    }
    return ModelInfo(
        model_id=pack.model_id,
        family=pack.family,
        is_loaded=loaded,
        languages=list(pack.languages),
        metadata={name: text for name, text in told.items() if text},
    )


def _broken(model_id: str, fault: str) -> ModelInfo:
    return ModelInfo(
        model_id=model_id, family=model_id.partition("-")[0], metadata={"state": "broken", "last_error": fault}
    )
