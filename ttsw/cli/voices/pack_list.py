"""The voice packs that a command line means, and what there is to say of each."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from ttsw.config import data_dir, load_config
from ttsw.errors import NotFoundError
from ttsw.packs.catalogue import Catalogue, CatalogueReader, open_catalogue, own_folder
from ttsw.packs.status import PackStatus


class PackState(StrEnum):
    """Whether a pack can be used, and if not, what it lacks."""

    USABLE = "usable"
    TO_DOWNLOAD = "to be downloaded"
    INCOMPLETE = "incomplete"
    BROKEN = "broken"


@dataclass(frozen=True)
class PackList:
    """Where voice packs are, by a configuration and the environment.

    Args:
        reader: Reads all of them.
        own: The user's own folder.
        store: Where downloaded files are.
    """

    reader: CatalogueReader
    own: Path
    store: Path

    @property
    def catalogue(self) -> Catalogue:
        """What there is."""
        return self.reader.catalogue

    def draft(self, model_id: str) -> PackStatus | None:
        """Give what is known of a pack, whatever it lacks; None where it is broken.

        Raises:
            NotFoundError: There is no such pack; the message lists those that exist.
        """
        catalogue = self.catalogue
        if model_id in catalogue.packs:
            return PackStatus(catalogue.packs[model_id])
        if model_id in catalogue.broken:
            return catalogue.incomplete.get(model_id)
        names = sorted({*catalogue.packs, *catalogue.broken})
        raise NotFoundError(f"no voice pack {model_id!r}; there are: {', '.join(names) or 'none'}")

    def state(self, model_id: str) -> PackState:
        """Say whether a pack can be used."""
        if model_id in self.catalogue.packs:
            return PackState.USABLE
        draft = self.catalogue.incomplete.get(model_id)
        if draft is None:
            return PackState.BROKEN
        return PackState.TO_DOWNLOAD if len(draft.downloads) == len(draft.missing) else PackState.INCOMPLETE

    def origin(self, model_id: str) -> str:
        """Say who brought a pack: "shipped", or "own" for the user's folder; empty where that can't be said."""
        folder = self.catalogue.folders.get(model_id)
        if folder is None:
            return ""
        return "own" if folder.is_relative_to(self.own) else "shipped"

    def describe(self, model_id: str) -> Mapping[str, Any]:
        """Give everything of a pack, in plain values."""
        draft, folder = self.draft(model_id), self.catalogue.folders.get(model_id)
        told: dict[str, Any] = {
            "model_id": model_id,
            "state": self.state(model_id).value,
            "fault": self.catalogue.broken.get(model_id, ""),
            "from": self.origin(model_id),
            "folder": str(folder or ""),
        }
        if draft is None:
            return told | {"family": folder.parent.name if folder else ""}
        pack = draft.pack
        return told | {
            "family": pack.family,
            "version": pack.version,
            "languages": list(pack.languages),
            "sample_rate": pack.sample_rate,
            "channels": pack.channels,
            "size_bytes": size_bytes(draft),
            "vram_mb": pack.vram_mb,
            "license": pack.license,
            "source": " ".join(pack.source.split()),
            "tags": list(pack.tags),
            "capabilities": list(pack.capabilities.names()),
            "options": dict(pack.options),
            "files": {role: str(path) for role, path in pack.files.items()},
            "missing": {one.role: one.origin.url or str(one.path) for one in draft.missing},
            "checksums": dict(pack.checksums),
        }


def open_packs(config: Path | None) -> PackList:
    """Find the voice packs that a configuration file, or none, means.

    Raises:
        ConfigError: The configuration can't be used.
    """
    own = load_config(config, os.environ, {}).model_manager.voicepacks_dir
    library = open_catalogue(own, os.environ)
    return PackList(library, own_folder(own, os.environ), data_dir(os.environ) / "files")


def size_bytes(draft: PackStatus) -> int:
    """How large a pack's files are, with those to be downloaded; by its own word where others are missing."""
    there = sum(path.stat().st_size for path in draft.pack.files.values())
    if len(draft.downloads) < len(draft.missing):
        return round(draft.pack.disk_mb * 1e6)
    return there + sum(one.origin.bytes or 0 for one in draft.downloads)
