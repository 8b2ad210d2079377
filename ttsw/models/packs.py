"""Voice packs: reads `voicepacks/<family>/<name>/metadata.yaml` and finds each pack's files.

Decides what a valid pack is. A broken one is reported with its fault and hides no other. Loading is not done here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ttsw.errors import NotFoundError, UnavailableError
from ttsw.types import Capabilities, VoicePack

METADATA = "metadata.yaml"
PACKAGE = "package://"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Capabilities(_Strict):
    streaming: bool = True
    zero_shot: bool = False
    lora: bool = False
    cpu_ok: bool = False
    emotive_zero_prompt: bool = False


class _Audio(_Strict):
    sample_rate: int = Field(ge=8_000, le=192_000)
    channels: int = Field(default=1, ge=1, le=2)


class _Size(_Strict):
    vram_mb: float = Field(default=0, ge=0)
    disk_mb: float = Field(default=0, ge=0)


class _Metadata(_Strict):
    family: str = Field(min_length=1)
    model_id: str = Field(min_length=1)
    version: str = "1.0"
    capabilities: _Capabilities = _Capabilities()
    languages: tuple[str, ...] = ()
    audio: _Audio
    size: _Size = _Size()
    tags: tuple[str, ...] = ()
    license: str = ""
    source: str = ""
    files: dict[str, str] = Field(default_factory=dict)
    options: dict[str, str | int | float] = Field(default_factory=dict)


class PackError(UnavailableError):
    """A voice pack cannot be used; the text names the pack, the fault and what would be right."""


@dataclass(frozen=True)
class Shelf:
    """All packs of some folders: those that can be used, and the faults of the others by folder."""

    packs: Mapping[str, VoicePack] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, model_id: str) -> VoicePack:
        """Return the pack with this full id.

        Raises:
            NotFoundError: There is none; the message lists those that exist.
            PackError: There is one, but it is broken; the message is its fault.
        """
        if model_id in self.packs:
            return self.packs[model_id]
        if model_id in self.broken:
            raise PackError(self.broken[model_id])
        raise NotFoundError(f"no model {model_id!r}; there are: {', '.join(sorted(self.packs)) or 'none'}")


def read_shelf(*folders: Path) -> Shelf:
    """Read every pack below `folders` (`<family>/<name>/metadata.yaml`); of two with one id, the later folder's counts.

    A missing folder is an empty one.
    """
    packs: dict[str, VoicePack] = {}
    broken: dict[str, str] = {}
    for path in (path for folder in folders for path in sorted(folder.glob(f"*/*/{METADATA}"))):
        model_id = "-".join(path.parent.parts[-2:])
        packs.pop(model_id, None)
        broken.pop(model_id, None)
        try:
            packs[model_id] = read_pack(path.parent)
        except PackError as error:
            broken[model_id] = str(error)
    return Shelf(packs, broken)


def read_pack(folder: Path) -> VoicePack:
    """Read one pack.

    Raises:
        PackError: metadata.yaml can't be read or isn't valid, or a file that it names isn't there.
    """
    meta = _read_metadata(folder)
    if (meta.family, meta.model_id) != (folder.parent.name, folder.name):
        raise PackError(
            f"voice pack {folder}: it says family {meta.family!r} and model_id {meta.model_id!r}, but it lies in "
            f"{folder.parent.name}/{folder.name}; both must agree"
        )
    return VoicePack(
        family=meta.family,
        name=meta.model_id,
        root=folder,
        version=meta.version,
        capabilities=Capabilities(**meta.capabilities.model_dump()),
        languages=meta.languages,
        sample_rate=meta.audio.sample_rate,
        channels=meta.audio.channels,
        vram_mb=meta.size.vram_mb,
        disk_mb=meta.size.disk_mb,
        tags=meta.tags,
        license=meta.license,
        source=meta.source,
        files=_find_files(folder, meta.files),
        options={name: str(value) for name, value in meta.options.items()},
    )


def _read_metadata(folder: Path) -> _Metadata:
    path = folder / METADATA
    try:
        return _Metadata.model_validate(yaml.safe_load(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PackError(f"voice pack {path}: cannot be read: {error}") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in error.errors())
        raise PackError(f"voice pack {path}: {faults}") from error


def _find_files(folder: Path, named: Mapping[str, str]) -> dict[str, Path]:
    """Files that lie in the pack by their names, and those that its metadata names, which win."""
    files = {path.name: path for path in sorted(folder.iterdir()) if path.is_file() and path.name != METADATA}
    for role, where in named.items():
        path = _in_package(folder, where) if where.startswith(PACKAGE) else _in_pack(folder, where)
        if not path.is_file():
            raise PackError(f"voice pack {folder}: {role}: there is no file {where}")
        files[role] = path
    return files


def _in_pack(folder: Path, where: str) -> Path:
    path = (folder / where).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise PackError(f"voice pack {folder}: {where!r} lies outside the pack; name a file in it")
    return path


def _in_package(folder: Path, where: str) -> Path:
    package, _, inside = where.removeprefix(PACKAGE).partition("/")
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise PackError(
            f"voice pack {folder}: {where} needs the Python package {package!r}, which is not installed; "
            f"what the shipped packs of a family need comes with: pip install 'ttsw[{folder.parent.name}]'"
        )
    root = Path(next(iter(spec.submodule_search_locations))).resolve()
    path = (root / inside).resolve()
    if not path.is_relative_to(root):
        raise PackError(f"voice pack {folder}: {where!r} lies outside its package")
    return path
