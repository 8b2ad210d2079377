"""Turning what is wrong with a profile file into sentences: where, which key, what was given, what would be right."""

import difflib
import reprlib
import types
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from ttsw.config.keys import Key
from ttsw.profiles.schema import Profile

MOST_FAULTS = 50
_WANTED = {
    "model_type": "must be a mapping",
    "mapping_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "tuple_type": "must be a list",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be a text",
    "finite_number": "must be a finite number",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be {ge:g} or more",
    "less_than_equal": "must be {le:g} or less",
    "datetime_from_date_parsing": "must be a date such as 2026-11-22T12:00:00Z",
    "datetime_type": "must be a date such as 2026-11-22T12:00:00Z",
}
"""What is valid, by pydantic's name of the error."""

_shorten = reprlib.Repr()
_shorten.maxstring = _shorten.maxother = 60
_shorten.maxlevel = 2


def explain(errors: Sequence[ErrorDetails], path: Path, lines: Mapping[Key, int]) -> str:
    """Say all faults in one text: one alone as a sentence, several as a list.

    Args:
        errors: What pydantic found.
        path: The file.
        lines: Lines by key; an item of a list has its number as its key.
    """
    faults = [_sentence(error, path, lines) for error in errors]
    if len(faults) == 1:
        return faults[0]
    rest = [f"- … and {len(faults) - MOST_FAULTS} more"] if len(faults) > MOST_FAULTS else []
    return "\n".join([f"{len(faults)} faults:", *(f"- {fault}" for fault in faults[:MOST_FAULTS]), *rest])


def place(path: Path, key: Key, lines: Mapping[Key, int]) -> str:
    """Name the file and the line of a key, or of what it is missing in."""
    return f"{path}, line {next((lines[key[:end]] for end in range(len(key), 0, -1) if key[:end] in lines), 1)}"


def _sentence(error: ErrorDetails, path: Path, lines: Mapping[Key, int]) -> str:
    key = tuple(str(part) for part in error["loc"] if part != "[key]")
    where = f"{place(path, key, lines)}: "
    if dotted := _dotted(error["loc"]):
        where += f"{dotted}: "
    if error["type"] == "missing":
        return f"{where}is missing"
    if error["type"] == "wanted":
        return f"{where}{error['msg']}"
    if error["type"] in {"extra_forbidden", "invalid_key"}:
        valid = names_at(error["loc"][:-1])
        near = difflib.get_close_matches(key[-1], valid, n=1)
        return f"{where}unknown key{f'; did you mean {near[0]}?' if near else ';'} valid are: {', '.join(valid)}"
    return f"{where}{_shorten.repr(error['input'])} is not valid: {_wanted(error)}"


def _wanted(error: ErrorDetails) -> str:
    if error["type"] not in _WANTED:
        return error["msg"].replace("Input should be", "must be").replace("String should", "must")
    wanted = _WANTED[error["type"]].format_map(error.get("ctx", {}))
    if error["type"] == "string_type" and isinstance(error["input"], bool | int | float | date):
        return f"{wanted}: put it in quotes"  # YAML reads no, 12 and 2026-01-01 as something else
    return wanted


def _dotted(loc: Sequence[int | str]) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc if part != "[key]")
    return "".join(parts).removeprefix(".")


def names_at(loc: Sequence[int | str]) -> tuple[str, ...]:
    """List the keys that a profile's section knows.

    >>> names_at(("models", "piper-anna", "session_mb"))
    ('median', 'low', 'high', 'n')
    """
    here: Any = Profile
    for part in loc:
        here = _section(here)
        if isinstance(here, type) and issubclass(here, BaseModel):
            field = here.model_fields.get(str(part))
            here = None if field is None else field.annotation
        else:
            here = next((each for each in reversed(get_args(here)) if each is not Ellipsis), None)
    here = _section(here)
    return tuple(here.model_fields) if isinstance(here, type) and issubclass(here, BaseModel) else ()


def _section(annotation: Any) -> Any:  # noqa: ANN401  # an annotation can be any object
    """What an annotation that may be None, or has limits, comes down to."""
    if get_origin(annotation) is Annotated:
        return _section(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType}:
        return next(each for each in get_args(annotation) if each is not types.NoneType)
    return annotation
