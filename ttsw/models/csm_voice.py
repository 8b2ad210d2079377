"""A fine-tuned CSM as Unsloth or peft leave it, a LoRA's folder or a whole model's; and the metadata of its pack."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ttsw.errors import InvalidArgumentError

_MOST_BYTES = 10_000_000
LORA = "adapter_config.json"
LORA_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
MODEL = "config.json"
_OF_MODEL = (
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
)


class CsmVoice(NamedTuple):
    """What was found.

    Args:
        folder: Where.
        files: The files that the pack is to have, by role.
        base: What the LoRA says that it was trained on; empty for a whole model.
        lora: Whether it is one.
    """

    folder: Path
    files: dict[str, Path]
    base: str
    lora: bool

    @property
    def name(self) -> str:
        """The folder's name, as a pack's is written.

        >>> CsmVoice(Path("My LoRA_model"), {}, "", True).name
        'my-lora-model'
        """
        return re.sub(r"[^a-z0-9.]+", "-", self.folder.resolve().name.lower()).strip("-.")


def find_csm(folder: Path) -> CsmVoice | None:
    """Give the voice in a folder, None where there is none.

    Raises:
        InvalidArgumentError: It is half a voice, or one for a model of another kind.
    """
    if (folder / LORA).is_file():
        return _find_lora(folder)
    if not (folder / MODEL).is_file() or _read(folder / MODEL).get("model_type") != "csm":
        return None
    weights = sorted(folder.glob("*.safetensors")) + sorted(folder.glob("*.safetensors.index.json"))
    if not any(path.suffix == ".safetensors" for path in weights):
        raise InvalidArgumentError(f"{folder} has the configuration of a CSM, and no weights: a .safetensors file")
    files = [folder / MODEL, *weights, *(folder / name for name in _OF_MODEL if (folder / name).is_file())]
    return CsmVoice(folder, {path.name: path for path in files}, "", lora=False)


def _find_lora(folder: Path) -> CsmVoice:
    config = _read(folder / LORA)
    weights = next((folder / name for name in LORA_WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise InvalidArgumentError(f"{folder} has {LORA}, and no weights: {' or '.join(LORA_WEIGHTS)}")
    if config.get("peft_type") != "LORA":
        raise InvalidArgumentError(f"{folder / LORA}: its peft_type is {config.get('peft_type')!r}, and must be 'LORA'")
    base = config.get("base_model_name_or_path")
    return CsmVoice(folder, {LORA: folder / LORA, weights.name: weights}, str(base or ""), lora=True)


def guess_base(voice: CsmVoice) -> str:
    """Give the id of the model that a LoRA was trained on, by the last part of that one's name; empty if that is none.

    >>> guess_base(CsmVoice(Path(), {}, "unsloth/csm-1b", True))
    'sesame-csm-1b'
    """
    name = voice.base.rstrip("/").rpartition("/")[2].lower()
    return f"sesame-{name}" if re.fullmatch(r"[a-z0-9]+([-_.][a-z0-9]+)*", name) else ""


def describe_csm(voice: CsmVoice, name: str, base: str, checksums: dict[str, str], licence: str) -> str:
    """Write a pack's metadata.yaml.

    Args:
        voice: The voice.
        name: The pack's name.
        base: The id of the model that it stands on; for a LoRA.
        checksums: The files in the pack, with the sha256 of each.
        licence: What is known of the licence.
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


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_MOST_BYTES))
    except OSError as error:
        raise InvalidArgumentError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"{path} is no configuration: {error}") from error
    return found if isinstance(found, dict) else {}
