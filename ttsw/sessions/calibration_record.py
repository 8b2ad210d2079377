"""Saved calibrations: their format in a model's record, and when one may be reused.

It also checks that saved values are plausible: a damaged or edited file must not produce a dangerous gain.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from itertools import pairwise
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ttsw.audio import Calibration
from ttsw.audio.loudness import MIN_SPEECH_S, TRIAL_LUFS
from ttsw.sessions.voice import CALIBRATION_TEXTS

NOTE = "calibration"
"""Name of the calibration among a record's notes."""

_FORMAT = TypeAdapter(Calibration)

_LUFS = (-70.0, 20.0)
"""Plausible loudness of speech, LUFS: from the gate of the measurement to far beyond full scale."""

_MOST_S = 3_600.0
_SLACK_LU = 1.0
"""Tolerance for the loudness after the limiter exceeding that before it, LU."""


def basis(defaults: Mapping[str, str]) -> str:
    """Return a digest, in hex, of what a calibration depends on besides the model's files."""
    what = repr((CALIBRATION_TEXTS, TRIAL_LUFS, sorted(defaults.items())))
    return hashlib.sha256(what.encode()).hexdigest()


def to_note(calibration: Calibration, defaults: Mapping[str, str]) -> dict[str, Any]:
    """Return a calibration as plain values."""
    return {"basis": basis(defaults), **asdict(calibration)}


def from_note(note: object, defaults: Mapping[str, str]) -> Calibration | None:
    """Read a calibration; None if there is none, or one with another basis.

    Raises:
        ValueError: The values are implausible; the message says why.
    """
    if not isinstance(note, dict) or note.get("basis") != basis(defaults):
        return None
    try:
        calibration = _FORMAT.validate_python({name: value for name, value in note.items() if name != "basis"})
    except ValidationError as error:
        raise ValueError("it is no calibration") from error
    if (fault := _fault(calibration)) is not None:
        raise ValueError(fault)
    return calibration


def saved_lufs(note: object) -> float | None:
    """Return the loudness of a saved calibration, LUFS; None without a plausible one."""
    lufs = note.get("lufs") if isinstance(note, dict) else None
    return lufs if isinstance(lufs, float) and _LUFS[0] <= lufs <= _LUFS[1] else None


def _fault(calibration: Calibration) -> str | None:
    """Return why a calibration is implausible; None if it isn't. NaN is always out of bounds."""
    low, high = _LUFS
    limited = calibration.limited_lufs
    if not low <= calibration.lufs <= high:
        return f"a loudness of {calibration.lufs:g} LUFS is none that speech has"
    if not MIN_SPEECH_S <= calibration.speech_s <= _MOST_S:
        return f"it is based on {calibration.speech_s:g} s of speech"
    if limited and len(limited) != len(TRIAL_LUFS):
        return f"it has {len(limited)} levels behind the limiter rather than {len(TRIAL_LUFS)}"
    if not all(low <= lufs <= trial + _SLACK_LU for lufs, trial in zip(limited, TRIAL_LUFS, strict=False)):
        return "its levels behind the limiter are none that a limiter leaves"
    if any(later < earlier - _SLACK_LU for earlier, later in pairwise(limited)):
        return "its levels behind the limiter fall where they should rise"
    return None
