"""Finding a Piper voice, a `.onnx` file with its `.onnx.json`, and writing its pack's metadata."""

import re
import unicodedata
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ttsw.errors import InvalidArgumentError
from ttsw.formats.piper_files import read_voice

_QUALITIES = ("x_low", "low", "medium", "high")


class PiperVoice(NamedTuple):
    """The two files of a voice."""

    model: Path
    config: Path

    @property
    def name(self) -> str:
        """The voice's name, in the form of a pack's name.

        >>> PiperVoice(Path("pt_PT-tugão-medium.onnx"), Path()).name
        'pt-pt-tugao-medium'
        """
        plain = unicodedata.normalize("NFKD", self.model.stem).encode("ascii", "ignore").decode().lower()
        return re.sub(r"[^a-z0-9.]+", "-", plain).strip("-.")


def find_voice(path: Path) -> PiperVoice | None:
    """Return the voice at `path` (its `.onnx`, its `.onnx.json`, or their folder); None if there is none.

    Raises:
        InvalidArgumentError: A file is missing, or the folder has several voices.
    """
    if path.is_dir():
        found = sorted(path.glob("*.onnx"))
        if len(found) > 1:
            raise InvalidArgumentError(f"{path} has {len(found)} .onnx files; name the one to add")
        return find_voice(found[0]) if found else None
    model = path.with_suffix("") if path.name.endswith(".onnx.json") else path
    if model.suffix != ".onnx":
        return None
    voice = PiperVoice(model, model.with_name(f"{model.name}.json"))
    for file in voice:
        if not file.is_file():
            raise InvalidArgumentError(f"a Piper voice is two files, and there is no file {file}")
    return voice


def describe_voice(voice: PiperVoice, name: str, checksums: dict[str, str], licence: str) -> str:
    """Return a metadata.yaml for a pack.

    Args:
        voice: The voice; its configuration is read.
        name: The pack's name.
        checksums: SHA-256 of the pack's files, by name.
        licence: The licence, which the configuration doesn't state.

    Raises:
        InvalidArgumentError: The configuration isn't a Piper voice's, or belongs to another voice.
        UnavailableError: The system denies access to a file.
    """
    config = read_voice(voice.config, voice.model)
    language = config.language.family or config.espeak.voice.partition("-")[0]
    tags = [config.language.name_english.lower(), *[word for word in _QUALITIES if word == config.audio.quality]]
    if config.speakers > 1:
        tags.append(f"{config.speakers} speakers")
    sizes = sum(file.stat().st_size for file in voice)
    metadata: dict[str, Any] = {
        "family": "piper",
        "model_id": name,
        "version": "1.0",
        "capabilities": {"streaming": True, "zero_shot": False, "lora": False, "cpu_ok": True},
        "languages": [language] if re.fullmatch("[a-z]{2,3}", language) else [],
        "audio": {"sample_rate": config.audio.sample_rate, "channels": 1},
        "size": {"vram_mb": 0, "disk_mb": max(1, round(sizes / 1e6))},
        "tags": [tag for tag in tags if tag],
        "license": licence,
        "source": f"the Piper voice {voice.model.stem}, added from its files",
        "files": {role: {"path": role, "sha256": sha256} for role, sha256 in checksums.items()},
    }
    return yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True, width=120)
