"""Finding a fine-tuned CSM as Unsloth or peft write it, a LoRA or a whole model, and writing its pack's metadata."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ttsw.errors import InvalidArgumentError
from ttsw.formats.csm_files import (
    LORA_CONFIG,
    LORA_WEIGHTS,
    MODEL_CONFIG,
    MODEL_WEIGHTS,
    TOKENIZER,
    read_csm,
    read_lora_settings,
)
from ttsw.formats.json_file import read_json

_OF_MODEL = (
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
    "tokenizer_config.json",
)


class CsmVoice(NamedTuple):
    """A fine-tuned CSM.

    Args:
        folder: Its folder.
        files: The files for the pack, by role.
        base: The model that the LoRA says it was trained on; empty for a whole model.
        lora: Whether it is a LoRA.
    """

    folder: Path
    files: dict[str, Path]
    base: str
    lora: bool

    @property
    def name(self) -> str:
        """The folder's name, in the form of a pack's name.

        >>> CsmVoice(Path("My LoRA_model"), {}, "", True).name
        'my-lora-model'
        """
        return re.sub(r"[^a-z0-9.]+", "-", self.folder.resolve().name.lower()).strip("-.")


def find_csm(folder: Path) -> CsmVoice | None:
    """Return the voice in a folder; None if there is none.

    Raises:
        InvalidArgumentError: The voice is incomplete, or can't be loaded.
        UnavailableError: The system denies access to it.
    """
    if (folder / LORA_CONFIG).is_file():
        return _find_lora(folder)
    config = folder / MODEL_CONFIG
    if not (config.is_file() and _names_csm(config)):
        return None
    read_csm(config)
    for wanted, what in ((MODEL_WEIGHTS, "weights"), ((TOKENIZER,), "tokenizer")):
        if not any((folder / name).is_file() for name in wanted):
            raise InvalidArgumentError(f"{folder} has the configuration of a CSM, and no {what}: {' or '.join(wanted)}")
    weights = sorted(folder.glob("*.safetensors")) + sorted(folder.glob("*.safetensors.index.json"))
    if not any(path.suffix == ".safetensors" for path in weights):
        raise InvalidArgumentError(f"{folder} has an index of weights, and no weights: .safetensors files")
    files = [config, folder / TOKENIZER, *weights, *(folder / name for name in _OF_MODEL if (folder / name).is_file())]
    return CsmVoice(folder, {path.name: path for path in files}, "", lora=False)


def _names_csm(config: Path) -> bool:
    """Return whether a config.json is a CSM's; other libraries use the same file name."""
    try:
        found = read_json(config)
    except ValueError:
        return False
    return isinstance(found, dict) and found.get("model_type") == "csm"


def _find_lora(folder: Path) -> CsmVoice:
    config = folder / LORA_CONFIG
    settings = read_lora_settings(config)
    weights = next((folder / name for name in LORA_WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise InvalidArgumentError(f"{folder} has {LORA_CONFIG}, and no weights: {' or '.join(LORA_WEIGHTS)}")
    base = settings.get("base_model_name_or_path")
    return CsmVoice(folder, {LORA_CONFIG: config, weights.name: weights}, str(base or ""), lora=True)


def guess_base(voice: CsmVoice) -> str:
    """Guess the id of a LoRA's base model from its name's last part; return an empty text if that isn't a valid name.

    >>> guess_base(CsmVoice(Path(), {}, "unsloth/csm-1b", True))
    'sesame-csm-1b'
    """
    name = voice.base.rstrip("/").rpartition("/")[2].lower()
    return f"sesame-{name}" if re.fullmatch(r"[a-z0-9]+([-_.][a-z0-9]+)*", name) else ""


def describe_csm(voice: CsmVoice, name: str, base: str, checksums: dict[str, str], licence: str) -> str:
    """Return a metadata.yaml for a pack.

    Args:
        voice: The voice.
        name: The pack's name.
        base: Id of the model that a LoRA is based on.
        checksums: SHA-256 of the pack's files, by name.
        licence: The licence, as far as it is known.
    """
    size_mb = max(1, round(sum(path.stat().st_size for path in voice.files.values()) / 1e6))
    metadata: dict[str, Any] = {
        "family": "sesame",
        "model_id": name,
        "version": "1.0",
        **({"base": base} if voice.lora else {}),
        "capabilities": {"streaming": True, "zero_shot": True, "lora": True, "cpu_ok": False},
        "languages": ["en"],
        "audio": {"sample_rate": 24_000, "channels": 1},
        "size": {"vram_mb": size_mb, "disk_mb": size_mb},
        "tags": ["fine-tuned", "lora" if voice.lora else "merged"],
        "license": licence,
        "source": f"{voice.folder.resolve().name}, added from its files",
        "files": {role: {"path": role, "sha256": sha256} for role, sha256 in checksums.items()},
    }
    return yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True, width=120)
