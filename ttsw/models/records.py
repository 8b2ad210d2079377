"""What was measured of each model, kept between runs: its size by device, its load time, its loudness.

One small JSON file a model, written whole and renamed, so that workers on one machine can share the folder. All of it
can be measured again: a file that can't be read or written is a warning; a model whose files have changed starts anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import structlog
from pydantic import TypeAdapter, ValidationError

from ttsw.models.digest import Mark, digest, mark_files
from ttsw.types import VoicePack

log = structlog.get_logger(__name__)

VERSION = 1


@dataclass(frozen=True)
class Measured:
    """A model in memory, as measured at its last load.

    Args:
        size: What it takes once it is loaded, bytes.
        peak: What it took at most meanwhile, bytes.
        load_s: From the load's start until it was ready, s.
    """

    size: int
    peak: int
    load_s: float


@dataclass(frozen=True)
class Record:
    """What is known of a model whose files have this digest.

    Args:
        digest: Over the files of its pack.
        marks: Those files by path, as they were read.
        measured: Sizes by device.
        notes: What others keep here, by name.
    """

    digest: str = ""
    marks: Mapping[str, Mark] = field(default_factory=dict)
    measured: Mapping[str, Measured] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    version: int = VERSION


_FORMAT = TypeAdapter(Record)


class RecordBook:
    """Records in a folder. Its methods read and write files: call them in a thread, for one model one at a time.

    Args:
        folder: Where; made when something is first written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._records: dict[str, Record] = {}

    def __getitem__(self, model_id: str) -> Record:
        """What was last known of a model, whatever its files are now; an empty record if nothing."""
        if model_id not in self._records:
            self._records[model_id] = _read(self._path(model_id))
        return self._records[model_id]

    def check(self, pack: VoicePack) -> Record:
        """Read the pack's files (those that haven't changed excepted); if they are others than last time, start anew.

        Raises:
            PackError: A file can't be read, or isn't what the pack says it is.
        """
        known = self[pack.model_id]
        marks = mark_files(pack, known.marks)
        now = digest(pack, marks)
        checked = replace(known if known.digest == now else Record(digest=now), marks=marks)
        if checked != known:
            self._write(pack.model_id, checked)
        return checked

    def keep_size(self, model_id: str, device: str, measured: Measured) -> None:
        """Keep what a model took on a device."""
        known = self[model_id]
        self._write(model_id, replace(known, measured={**known.measured, device: measured}))

    def keep_note(self, model_id: str, name: str, value: object) -> None:
        """Keep something else of a model; plain values, as JSON has them."""
        known = self[model_id]
        self._write(model_id, replace(known, notes={**known.notes, name: value}))

    def _path(self, model_id: str) -> Path:
        return self._folder / f"{model_id}.json"

    def _write(self, model_id: str, record: Record) -> None:
        self._records[model_id] = record
        path = self._path(model_id)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile("wb", dir=path.parent, prefix=f".{model_id}-", delete=False) as file:
                file.write(_FORMAT.dump_json(record, indent=1))
            Path(file.name).replace(path)
        except OSError as error:
            log.warning("what was measured of a model can't be kept", model_id=model_id, error=str(error))


def _read(path: Path) -> Record:
    try:
        record = _FORMAT.validate_json(path.read_bytes())
    except FileNotFoundError:
        return Record()
    except (OSError, ValidationError) as error:
        log.warning(
            "what was measured of a model can't be read, and is measured again", file=str(path), error=str(error)
        )
        return Record()
    return record if record.version == VERSION else Record()
