"""Calibrations that outlast the worker: when one may be used again, and its form in a model's record."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ttsw.audio import Calibration
from ttsw.audio.loudness import TRIAL_LUFS
from ttsw.sessions.voice import CALIBRATION_TEXTS

NOTE = "calibration"
"""Its name among a record's notes."""

_FORMAT = TypeAdapter(Calibration)


def basis(defaults: Mapping[str, str]) -> str:
    """Say on what a calibration stands, besides the model's files: a digest, in hex."""
    what = repr((CALIBRATION_TEXTS, TRIAL_LUFS, sorted(defaults.items())))
    return hashlib.sha256(what.encode()).hexdigest()


def to_note(calibration: Calibration, defaults: Mapping[str, str]) -> dict[str, Any]:
    """Write a calibration as plain values."""
    return {"basis": basis(defaults), **asdict(calibration)}


def from_note(note: object, defaults: Mapping[str, str]) -> Calibration | None:
    """Read a calibration; None where there is none, or one that stands on something else."""
    if not isinstance(note, dict) or note.get("basis") != basis(defaults):
        return None
    try:
        return _FORMAT.validate_python({name: value for name, value in note.items() if name != "basis"})
    except ValidationError:
        return None
