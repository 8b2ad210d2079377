"""The catalogue of voice packs: finds all packs in the given folders, and rereads the changed ones.

It decides which pack an id refers to. A broken pack is listed with its fault and hides no other. `ttsw.packs.reader`
decides what a valid pack is.
"""

import difflib
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from ttsw.config import Config
from ttsw.config.folders import data_dir
from ttsw.config.shipped import shipped_dir
from ttsw.errors import NotFoundError
from ttsw.packs.metadata_file import METADATA
from ttsw.packs.reader import PackError, PackIncompleteError, read_status
from ttsw.packs.status import PackStatus
from ttsw.system.machine import may_pass
from ttsw.system.terminal import make_safe
from ttsw.types import VoicePack

MOST_NAMES = 40
"""Most models listed by name in a message; the names of a thousand don't fit into a response."""


@dataclass(frozen=True)
class Catalogue:
    """The packs of some folders at one moment, by full id.

    Args:
        packs: Usable packs.
        broken: Faults of the unusable packs, including those that only lack files.
        incomplete: Valid packs that lack files.
        folders: Folders of all packs; an id claimed by two packs of one folder has none.
    """

    packs: Mapping[str, VoicePack] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)
    incomplete: Mapping[str, PackStatus] = field(default_factory=dict)
    folders: Mapping[str, Path] = field(default_factory=dict)

    def __getitem__(self, model_id: str) -> VoicePack:
        """Return the pack with this full id.

        Raises:
            NotFoundError: No pack has this id; the message lists the existing ones.
            PackIncompleteError: The pack lacks files; the message says how to get them.
            PackError: The pack is broken; the message is its fault.
        """
        if model_id in self.packs:
            return self.packs[model_id]
        if model_id in self.incomplete:
            raise PackIncompleteError(self.broken[model_id])
        if model_id in self.broken:
            raise PackError(self.broken[model_id])
        raise NotFoundError(f"no model {model_id!r}; there are: {self._names(model_id) or 'none'}")

    def base(self, pack: VoicePack) -> VoicePack | None:
        """Return the pack that a pack is based on; None if it is independent.

        Raises:
            NotFoundError: The base doesn't exist.
            PackError: The base is broken, or can't be the base of this pack; the message says why.
        """
        if not pack.base:
            return None
        base = self[pack.base]
        if base.family != pack.family:
            raise PackError(
                f"voice pack {pack.root}: its base {base.model_id} is of the family {base.family!r}, and must be of "
                f"{pack.family!r}"
            )
        if base.base:
            raise PackError(
                f"voice pack {pack.root}: its base {base.model_id} is based on {base.base} itself; name that one"
            )
        return base

    def _names(self, wanted: str) -> str:
        names = sorted(self.packs)
        if len(names) <= MOST_NAMES:
            return ", ".join(names)
        near = difflib.get_close_matches(wanted, names, n=5, cutoff=0.3)
        return ", ".join([*near, f"… ({len(names)} in all)"])


class _Mark(NamedTuple):
    """Attributes that change when a file or folder changes."""

    device: int
    inode: int
    size: int
    changed_ns: int
    attributes_changed_ns: int


@dataclass(frozen=True)
class _Entry:
    """A pack's folder as last read: the result, and what it depends on.

    Args:
        marks: Stamps of the files and folders it depends on.
        result: The pack, its fault, or None if the folder has no pack.
        may_pass: Whether the fault was the machine's, so that reading again may succeed without a change here.
    """

    marks: Mapping[str, _Mark | None]
    result: PackStatus | str | None
    may_pass: bool = False


class CatalogueReader:
    """Reads the packs of some folders (`<family>/<name>/metadata.yaml`), and rereads those that change.

    If two folders have a pack with the same id, the later folder takes precedence; within one folder, neither is used.
    A missing folder counts as empty. Methods block, and may be called from any thread; a returned `Catalogue` never
    changes.

    Args:
        roots: The folders.
        store: Folder of downloaded files; None is the user's own.
    """

    def __init__(self, *roots: Path, store: Path | None = None) -> None:
        self._roots = [str(root.absolute()) for root in roots]
        self._store = store
        self._lock = Lock()
        self._entries: dict[str, _Entry] = {}
        self._faults: dict[str, str] = {}
        self._catalogue = Catalogue()
        self.refresh()

    @property
    def catalogue(self) -> Catalogue:
        """The packs as of the last `refresh`."""
        return self._catalogue

    def refresh(self) -> Catalogue:
        """Read the packs that are new or have changed; return the same catalogue object if nothing changed."""
        with self._lock:
            faults: dict[str, str] = {}
            folders = [list(_pack_folders(root, faults)) for root in self._roots]
            entries = {path: self._entry(path) for root in folders for path in root}
            if faults != self._faults or entries != self._entries:
                self._faults, self._entries = faults, entries
                self._catalogue = _arrange(folders, entries, faults)
            return self._catalogue

    def _entry(self, path: str) -> _Entry:
        known = self._entries.get(path)
        if (
            known is not None
            and not known.may_pass
            and all(_mark(watched) == mark for watched, mark in known.marks.items())
        ):
            return known
        marks: dict[str, _Mark | None] = {}

        def watch(watched: str) -> None:
            marks.setdefault(watched, _mark(watched))

        watch(path)
        watch(f"{path}/{METADATA}")
        try:
            Path(path, METADATA).lstat()
            return _Entry(marks, read_status(Path(path), self._store, watch))
        except FileNotFoundError:
            return _Entry(marks, None)
        except OSError as error:
            return _Entry(marks, _readable(f"voice pack {path}: cannot be read: {error.strerror}"), may_pass(error))
        except PackError as error:
            return _Entry(marks, _readable(str(error)), may_pass(error))


def read_catalogue(*folders: Path, store: Path | None = None) -> Catalogue:
    """Read every pack below `folders` once; see `CatalogueReader`."""
    return CatalogueReader(*folders, store=store).catalogue


def open_catalogue(own: Path | None, environ: Mapping[str, str]) -> CatalogueReader:
    """Open the shipped packs and the user's own, which take precedence.

    Args:
        own: The user's folder; None is `$XDG_DATA_HOME/ttsw/voicepacks`.
        environ: The environment variables.
    """
    return CatalogueReader(shipped_dir("voicepacks"), own_folder(own, environ), store=data_dir(environ) / "files")


def open_packs(config: Config) -> CatalogueReader:
    """Open the shipped voice packs and those of the configured folder, which take precedence."""
    return open_catalogue(config.model_manager.voicepacks_dir, os.environ)


def find_packs(config: Config) -> Catalogue:
    """Read the voice packs once; see `open_packs`."""
    return open_packs(config).catalogue


def own_folder(own: Path | None, environ: Mapping[str, str]) -> Path:
    """Return the folder of the user's own packs; see `open_catalogue`."""
    return (own or data_dir(environ) / "voicepacks").absolute()


def _mark(path: str) -> _Mark | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - of thousands; a Path costs more than the call
    except (OSError, ValueError):
        return None
    return _Mark(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _pack_folders(root: str, faults: dict[str, str]) -> Iterator[str]:
    for family in _folders(root, faults):
        yield from _folders(family, faults)


def _folders(path: str, faults: dict[str, str]) -> list[str]:
    """List a folder's visible subfolders; add a folder that can't be listed to `faults`."""
    try:
        with os.scandir(path) as found:
            return sorted(entry.path for entry in found if not entry.name.startswith(".") and _may_be_folder(entry))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        fault = f"the voice packs in {path} cannot be read: {error.strerror}"
        faults[_readable(Path(path).name)] = _readable(fault)
        return []


def _may_be_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return True  # for example a link to itself; reading it reports the fault


def _readable(text: str) -> str:
    """Return a printable text; folder names may contain any bytes."""
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return make_safe(text, escape=lambda _: "\ufffd")


def _arrange(folders: list[list[str]], entries: Mapping[str, _Entry], faults: Mapping[str, str]) -> Catalogue:
    packs: dict[str, VoicePack] = {}
    broken: dict[str, str] = {}
    incomplete: dict[str, PackStatus] = {}
    where: dict[str, Path] = {}
    for root in folders:
        named = defaultdict(list)
        for path in root:
            if entries[path].result is not None:
                named[_readable("-".join(path.split("/")[-2:]))].append(path)
        for model_id, paths in named.items():
            for known in (packs, broken, incomplete, where):
                known.pop(model_id, None)
            if len(paths) > 1:
                both = _readable(" and ".join(paths))
                broken[model_id] = f"voice pack {model_id}: two packs have this id: {both}; rename one of them"
                continue
            where[model_id] = Path(paths[0])
            result = entries[paths[0]].result
            if isinstance(result, str):
                broken[model_id] = result
            elif isinstance(result, PackStatus) and result.missing:
                broken[model_id], incomplete[model_id] = _readable(result.fault), result
            elif isinstance(result, PackStatus):
                packs[model_id] = result.pack
    return Catalogue(packs, {**faults, **broken}, incomplete, where)
