"""Measurements of models, kept between runs: size by device, load time, loudness.

Each model has one small JSON file, written whole and renamed. Workers on one machine may share the folder: a write adds
to the file's current content, under a lock. Everything can be measured again, so an unreadable or implausible file is
only a warning. A model whose files have changed starts anew.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import structlog
from pydantic import Field, TypeAdapter

from ttsw.config import Config, state_dir
from ttsw.packs.checksums import FileStamp, digest, stamp_files
from ttsw.system.files import locked, write_whole
from ttsw.types import VoicePack

log = structlog.get_logger(__name__)

VERSION = 1

LOCK = ".lock"
"""The lock file in the folder."""

# Plausible values; a number beyond these is damage, not a measurement.
Bytes = Annotated[int, Field(ge=0, le=1 << 42)]
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]


@dataclass(frozen=True)
class ModelSize:
    """A model's memory, as measured at its last load.

    Args:
        size: Memory once loaded, bytes.
        peak: Peak memory during the load, bytes.
        load_s: Time from the load's start until it was ready, seconds.
    """

    size: Bytes
    peak: Bytes
    load_s: Seconds


@dataclass(frozen=True)
class ModelRecord:
    """The measurements of a model whose files have this digest.

    Args:
        digest: Digest of the pack's files.
        marks: Stamps of those files by path, as of their last reading.
        measured: Sizes by device.
        notes: Data of other components, by name.
    """

    digest: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = ""
    marks: Mapping[str, FileStamp] = field(default_factory=dict)
    measured: Mapping[str, ModelSize] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    version: int = VERSION


_FORMAT = TypeAdapter(ModelRecord)


class MeasurementStore:
    """Records in a folder. Its methods block: call them in a thread, one at a time for each model.

    Args:
        folder: The folder; created at the first write.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._records: dict[str, ModelRecord] = {}
        self._damaged: set[str] = set()

    def __getitem__(self, model_id: str) -> ModelRecord:
        """Return a model's record regardless of its current files; an empty one if there is none."""
        if model_id not in self._records:
            self._records[model_id] = self._read(model_id) or ModelRecord()
        return self._records[model_id]

    def check(self, pack: VoicePack) -> ModelRecord:
        """Verify a pack's files, reading those that have changed; if their digest has changed, start a new record.

        Raises:
            PackError: A file can't be read, or doesn't match the pack's checksums.
        """
        known = self._read(pack.model_id) or self._records.get(pack.model_id) or ModelRecord()
        self._records[pack.model_id] = known
        marks = stamp_files(pack, known.marks)
        now = digest(pack, marks)

        def checked(known: ModelRecord) -> ModelRecord:
            return replace(known if known.digest == now else ModelRecord(digest=now), marks=marks)

        if checked(known) != known:
            self._update(pack.model_id, checked)
        return self[pack.model_id]

    def keep_size(self, model_id: str, device: str, measured: ModelSize) -> None:
        """Save a model's size on a device."""
        self._update(model_id, lambda known: replace(known, measured={**known.measured, device: measured}))

    def keep_note(self, model_id: str, name: str, value: object) -> None:
        """Save a note; its value must be JSON-compatible."""
        self._update(model_id, lambda known: replace(known, notes={**known.notes, name: value}))

    def _path(self, model_id: str) -> Path:
        return self._folder / f"{model_id}.json"

    def _update(self, model_id: str, change: Callable[[ModelRecord], ModelRecord]) -> None:
        """Change a record, starting from its file's current content, which another worker may have changed."""
        path, own = self._path(model_id), self[model_id]
        self._records[model_id] = change(own)  # this run keeps it even if the write fails
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with locked(path.parent / LOCK):
                kept = self._read(model_id)
                if kept is not None and kept.digest == own.digest:
                    self._records[model_id] = change(_merge(kept, own))
                write_whole(path, _FORMAT.dump_json(self._records[model_id], indent=1))
        except OSError as error:
            log.warning("failed to save model measurements", model_id=model_id, error=str(error))

    def _read(self, model_id: str) -> ModelRecord | None:
        """Read a record's file; None if it is missing or unusable. Warn once of a damaged one."""
        path = self._path(model_id)
        try:
            record = _FORMAT.validate_json(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            if model_id not in self._damaged:
                log.warning("model measurements unreadable; measuring again", file=str(path), error=str(error))
            self._damaged.add(model_id)
            return None
        self._damaged.discard(model_id)
        return record if record.version == VERSION else None


def _merge(kept: ModelRecord, own: ModelRecord) -> ModelRecord:
    """Merge the file's record with this run's, which may not have been saved."""
    return replace(kept, measured={**own.measured, **kept.measured}, notes={**own.notes, **kept.notes})


def open_measurements(config: Config) -> MeasurementStore:
    """Open the measurements that earlier loads have saved."""
    return MeasurementStore(state_folder(config) / "models")


def state_folder(config: Config) -> Path:
    """Return the folder in which the worker keeps its state."""
    return config.model_manager.state_dir or state_dir(os.environ)
