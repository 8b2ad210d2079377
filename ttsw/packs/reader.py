"""Reading one voice pack: `voicepacks/<family>/<name>/metadata.yaml` and the files that it names.

It decides what a valid pack is, and which of its files are missing. `ttsw.packs.catalogue` finds the packs.
"""

import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from ttsw.config.folders import data_dir
from ttsw.errors import ConfigError, UnavailableError
from ttsw.packs.metadata import Metadata, Origin
from ttsw.packs.metadata_file import METADATA, read_metadata
from ttsw.packs.status import MissingFile, PackStatus
from ttsw.types import Capabilities, VoicePack

Watch = Callable[[str], None]
"""Receives each path that the result depends on, before it is read."""


class PackError(UnavailableError):
    """A voice pack cannot be used; the message names the pack, the fault and the remedy."""


class PackIncompleteError(PackError):
    """A voice pack is valid but lacks files; the message says how to get them."""


def read_pack(folder: Path, store: Path | None = None) -> VoicePack:
    """Read one pack; see `read_status`.

    Raises:
        PackIncompleteError: Files must still be downloaded or put in place.
        PackError: metadata.yaml is unreadable or invalid, or a file that it names is missing.
    """
    draft = read_status(folder, store)
    if draft.missing:
        raise PackIncompleteError(draft.fault)
    return draft.pack


def read_status(folder: Path, store: Path | None = None, watch: Watch = lambda _path: None) -> PackStatus:
    """Read one pack, and check which of its files exist.

    Args:
        folder: The pack's folder, `<voice packs>/<family>/<name>`.
        store: Folder of downloaded files, `<sha256>/<role>`; None is the user's own.
        watch: Receives each path that the result depends on.

    Raises:
        PackError: metadata.yaml is unreadable or invalid, or names an impossible file.
    """
    folder = folder.absolute()
    try:
        _check_inside(folder, folder, "")
        _check_inside(folder, folder / METADATA, METADATA)
        meta = read_metadata(folder / METADATA)
        if (meta.family, meta.model_id) != (folder.parent.name, folder.name):
            raise PackError(
                f"voice pack {folder}: it says family {meta.family!r} and model_id {meta.model_id!r}, but it lies in "
                f"{folder.parent.name}/{folder.name}; both must agree"
            )
        files, missing = _find_files(folder, meta, store or data_dir(os.environ) / "files", watch)
    except ConfigError as error:
        raise PackError(f"voice pack {error}") from error
    except OSError as error:
        raise PackError(f"voice pack {folder}: cannot be read: {error.strerror}: {error.filename or folder}") from error
    return PackStatus(_describe(folder, meta, files), missing)


def _describe(folder: Path, meta: Metadata, files: Mapping[str, Path]) -> VoicePack:
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
        files=files,
        checksums={role: origin.sha256 for role, origin in meta.files.items() if origin.sha256 is not None},
        options=dict(meta.options),
        base=meta.base or "",
    )


def _find_files(
    folder: Path, meta: Metadata, store: Path, watch: Watch
) -> tuple[dict[str, Path], tuple[MissingFile, ...]]:
    """Return the pack's files by role, with those named in the metadata taking precedence, and the missing files."""
    files: dict[str, Path] = {}
    missing: list[MissingFile] = []
    for role, origin in meta.files.items():
        path = _place(folder, role, origin, store, watch)
        if path is None:
            missing.append(MissingFile(role, folder / role, origin))
            continue
        watch(str(path))
        if path.is_file() and (origin.bytes is None or path.stat().st_size == origin.bytes):
            if origin.path is not None:
                _check_inside(folder, path, origin.path)
            files[role] = path
        elif origin.url is not None or (origin.path is not None and meta.source and not os.path.lexists(path)):
            missing.append(MissingFile(role, path, origin))
        else:
            raise PackError(f"voice pack {folder}: {role}: {_absence(path, origin)}")
    named = {str(path) for path in files.values()}
    lying = {path.name: path for path in _lying(folder) if str(path) not in named}
    return lying | files, tuple(missing)


def _place(folder: Path, role: str, origin: Origin, store: Path, watch: Watch) -> Path | None:
    """Return a file's path; None if its Python package isn't installed."""
    if origin.package is not None:
        return _in_package(origin.package, watch)
    return folder / origin.path if origin.path is not None else store / str(origin.sha256) / role


def _absence(path: Path, origin: Origin) -> str:
    named = origin.path or f"package://{origin.package}"
    if path.is_file():
        return f"{named} has {path.stat().st_size} bytes, and {origin.bytes} in the metadata"
    return f"{named} is no regular file" if os.path.lexists(path) else f"there is no file {named}"


def _lying(folder: Path) -> Iterator[Path]:
    """Yield the visible regular files of the pack."""
    for path in sorted(folder.iterdir()):
        if path.name == METADATA or path.name.startswith("."):
            continue
        if path.is_symlink():
            _check_inside(folder, path, path.name)
        if stat.S_ISREG(path.stat().st_mode):
            yield path


def _check_inside(folder: Path, path: Path, named: str) -> None:
    """Refuse a link that leads out of the folder of all voice packs."""
    root = os.path.realpath(folder.parent.parent)
    if not Path(os.path.realpath(path)).is_relative_to(root):
        what = f"{named!r} is a link that" if named else "it is a link, and"
        raise PackError(f"voice pack {folder}: {what} leads out of {root}; copy what it leads to")


def _in_package(named: str, watch: Watch) -> Path | None:
    package, _, inside = named.partition("/")
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        for place in sys.path:
            watch(place)  # installing the package changes one of these
        return None
    return Path(next(iter(spec.submodule_search_locations))) / inside
