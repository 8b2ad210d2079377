"""A Piper voice as it is given away, a `.onnx` file with its `.onnx.json` beside it; and the metadata of its pack."""

import re
import unicodedata
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel, Field, ValidationError

from ttsw.errors import InvalidArgumentError

_MOST_BYTES = 10_000_000
_QUALITIES = ("x_low", "low", "medium", "high")


class PiperVoice(NamedTuple):
    """The two files of a voice."""

    model: Path
    config: Path

    @property
    def name(self) -> str:
        """The voice's name, as a pack's is written.

        >>> PiperVoice(Path("pt_PT-tugão-medium.onnx"), Path()).name
        'pt-pt-tugao-medium'
        """
        plain = unicodedata.normalize("NFKD", self.model.stem).encode("ascii", "ignore").decode().lower()
        return re.sub(r"[^a-z0-9.]+", "-", plain).strip("-.")


class _Audio(BaseModel):
    sample_rate: int = Field(ge=8_000, le=192_000)
    quality: str = ""


class _Language(BaseModel):
    family: str = ""
    name_english: str = ""


class _Espeak(BaseModel):
    voice: str = ""


class _Config(BaseModel):
    """What a pack says of the voice; its configuration has more, which is the engine's."""

    audio: _Audio
    num_speakers: int = Field(default=1, ge=1)
    language: _Language = _Language()
    espeak: _Espeak = _Espeak()


def find_voice(path: Path) -> PiperVoice | None:
    """Give the voice that `path` is (its `.onnx`, its `.onnx.json`, or a folder with one of them), None where it isn't.

    Raises:
        InvalidArgumentError: It is half a voice, or a folder with several.
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
    """Write a pack's metadata.yaml.

    Args:
        voice: The voice; its configuration is read.
        name: The pack's name.
        checksums: The files in the pack, with the sha256 of each.
        licence: What is known of the licence; the configuration says nothing of it.

    Raises:
        InvalidArgumentError: The configuration isn't that of a Piper voice.
    """
    config = _read(voice.config)
    language = config.language.family or config.espeak.voice.partition("-")[0]
    tags = [config.language.name_english.lower(), *[word for word in _QUALITIES if word == config.audio.quality]]
    if config.num_speakers > 1:
        tags.append(f"{config.num_speakers} speakers")
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


def _read(path: Path) -> _Config:
    try:
        with path.open("rb") as file:
            return _Config.model_validate_json(file.read(_MOST_BYTES))
    except OSError as error:
        raise InvalidArgumentError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in error.errors())
        raise InvalidArgumentError(f"{path} is not the configuration of a Piper voice: {faults}") from error
