"""What was measured of each model, kept between runs: its size by device, its load time, its loudness.

One small JSON file a model, written whole and renamed. Workers on one machine can share the folder: a write adds to
the record as it is in the file then, under a lock. All of it can be measured again: a file that can't be read or
written, or whose numbers can't be, is a warning; a model whose files have changed starts anew.
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
"""The file in the folder of records that its writers lock."""

# What a file may say. A number beyond is damage, not a measurement.
Bytes = Annotated[int, Field(ge=0, le=1 << 42)]
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]


@dataclass(frozen=True)
class ModelSize:
    """A model in memory, as measured at its last load.

    Args:
        size: What it takes once it is loaded, bytes.
        peak: What it took at most meanwhile, bytes.
        load_s: From the load's start until it was ready, s.
    """

    size: Bytes
    peak: Bytes
    load_s: Seconds


@dataclass(frozen=True)
class ModelRecord:
    """What is known of a model whose files have this digest.

    Args:
        digest: Over the files of its pack.
        marks: Those files by path, as they were read.
        measured: Sizes by device.
        notes: What others keep here, by name.
    """

    digest: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = ""
    marks: Mapping[str, FileStamp] = field(default_factory=dict)
    measured: Mapping[str, ModelSize] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    version: int = VERSION


_FORMAT = TypeAdapter(ModelRecord)


class MeasurementStore:
    """Records in a folder. Its methods read and write files: call them in a thread, for one model one at a time.

    Args:
        folder: Where; made when something is first written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._records: dict[str, ModelRecord] = {}
        self._damaged: set[str] = set()

    def __getitem__(self, model_id: str) -> ModelRecord:
        """What was last known of a model, whatever its files are now; an empty record if nothing."""
        if model_id not in self._records:
            self._records[model_id] = self._read(model_id) or ModelRecord()
        return self._records[model_id]

    def check(self, pack: VoicePack) -> ModelRecord:
        """Read the pack's files (those that haven't changed excepted); if they are others than last time, start anew.

        Raises:
            PackError: A file can't be read, or isn't what the pack says it is.
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
        """Keep what a model took on a device."""
        self._update(model_id, lambda known: replace(known, measured={**known.measured, device: measured}))

    def keep_note(self, model_id: str, name: str, value: object) -> None:
        """Keep something else of a model; plain values, as JSON has them."""
        self._update(model_id, lambda known: replace(known, notes={**known.notes, name: value}))

    def _path(self, model_id: str) -> Path:
        return self._folder / f"{model_id}.json"

    def _update(self, model_id: str, change: Callable[[ModelRecord], ModelRecord]) -> None:
        """Change a record as it is in its file now, where another worker may have added to it."""
        path, own = self._path(model_id), self[model_id]
        self._records[model_id] = change(own)  # whatever becomes of the file, this run knows
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
        """Read a record's file; None where there is none that can be used. A damaged one is told of once."""
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
    """Join what the file says with what this run knows and perhaps couldn't write."""
    return replace(kept, measured={**own.measured, **kept.measured}, notes={**own.notes, **kept.notes})


def open_measurements(config: Config) -> MeasurementStore:
    """Open the measurements that earlier loads have saved."""
    return MeasurementStore(state_folder(config) / "models")


def state_folder(config: Config) -> Path:
    """Return the folder in which the worker keeps its state."""
    return config.model_manager.state_dir or state_dir(os.environ)
