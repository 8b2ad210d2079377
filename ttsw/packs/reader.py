"""Voice packs: reads `voicepacks/<family>/<name>/metadata.yaml` and finds each pack's files.

Decides what a valid pack is, and which of its files are still to come. Loading is not done here, and which packs
there are is `ttsw.packs.catalogue`'s to say.
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
"""Told of each path before it is looked at: should it change, the pack may be another."""


class PackError(UnavailableError):
    """A voice pack cannot be used; the text names the pack, the fault and what would be right."""


class PackIncompleteError(PackError):
    """A voice pack is right, but lacks files; the text says how to get them."""


def read_pack(folder: Path, store: Path | None = None) -> VoicePack:
    """Read one pack; see `read_status`.

    Raises:
        PackIncompleteError: Files are still to be downloaded, or to be put in place.
        PackError: metadata.yaml can't be read or isn't valid, or a file that it names isn't there.
    """
    draft = read_status(folder, store)
    if draft.missing:
        raise PackIncompleteError(draft.fault)
    return draft.pack


def read_status(folder: Path, store: Path | None = None, watch: Watch = lambda _path: None) -> PackStatus:
    """Read one pack, and see which of its files are there.

    Args:
        folder: The pack's folder, in that of its family, in that of the voice packs.
        store: Where downloaded files are, as `<sha256>/<role>`; None is the user's own.
        watch: Told of each path that this depends on.

    Raises:
        PackError: metadata.yaml can't be read or isn't valid, or a file that it names can't be.
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
    """Files that lie in the pack by their names, and those that its metadata names, which win; and those not there."""
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
    """Where a file belongs; None where its package isn't installed."""
    if origin.package is not None:
        return _in_package(origin.package, watch)
    return folder / origin.path if origin.path is not None else store / str(origin.sha256) / role


def _absence(path: Path, origin: Origin) -> str:
    named = origin.path or f"package://{origin.package}"
    if path.is_file():
        return f"{named} has {path.stat().st_size} bytes, and {origin.bytes} in the metadata"
    return f"{named} is no regular file" if os.path.lexists(path) else f"there is no file {named}"


def _lying(folder: Path) -> Iterator[Path]:
    """Give the regular files that lie in the pack, the hidden ones excepted."""
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
            watch(place)  # an installation changes one of them
        return None
    return Path(next(iter(spec.submodule_search_locations))) / inside
