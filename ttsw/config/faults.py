"""Turning pydantic's errors into messages: origin, key, given value, valid values."""

import difflib
import re
import reprlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import date

from pydantic_core import ErrorDetails

from ttsw.config.environment import is_variable, variable_of
from ttsw.config.keys import Key, Settings, is_branch, is_list, names_at

_WANTED = {
    "model_type": "must be a mapping",
    "mapping_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be a text",
    "path_type": "must be a file's path",
    "tuple_type": "must be a list",
    "finite_number": "must be a finite number",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be {ge:g} or more",
    "less_than_equal": "must be {le:g} or less",
}
"""Valid values, by pydantic's error type."""

_shorten = reprlib.Repr()
_shorten.maxstring = _shorten.maxother = 60


def explain(errors: Iterable[ErrorDetails], settings: Settings) -> str:
    """Return one message for all errors: a sentence for one, a list for several."""
    faults = [_sentence(error, settings) for error in errors]
    return faults[0] if len(faults) == 1 else f"{len(faults)} faults:\n" + "\n".join(f"- {fault}" for fault in faults)


def _sentence(error: ErrorDetails, settings: Settings) -> str:
    loc = tuple(str(part) for part in error["loc"] if part != "[key]")
    if error["type"] in {"extra_forbidden", "invalid_key"}:
        return _unknown(loc, settings)
    if error["type"] == "conflict":
        origins = _origins([(*loc, name) for name in error["ctx"]["keys"]], settings)
        return f"{origins}: {_dotted(loc)}: {error['msg']}"
    given = re.sub(r"//\S*@", "//…@", _shorten.repr(error["input"]))  # a URL may have a password in it
    return f"{_origins([loc], settings)}: {_dotted(loc)}: {given} is not valid: {_wanted(error, loc)}"


def _wanted(error: ErrorDetails, loc: Key) -> str:
    if error["type"] not in _WANTED:
        return error["msg"].replace("Input should be", "must be")
    wanted = _WANTED[error["type"]].format_map(error.get("ctx", {}))
    if error["type"] == "string_type" and isinstance(error["input"], bool | int | float | date):
        return f"{wanted}: put it in quotes"  # YAML reads no, 12 and 2026-01-01 as something else
    names = names_at(loc)
    return f"{wanted}, of {', '.join(names)}" if names else wanted


def _unknown(key: Key, settings: Settings) -> str:
    *above, name = key
    origin = _origins([key], settings)
    valid: Sequence[str] = names_at(tuple(above))
    near = difflib.get_close_matches(name, valid, n=1)
    if is_variable(origin):
        valid, near = _spell(above, valid), _spell(above, near)
    guess = f"; did you mean {near[0]}?" if near else ";"
    return f"{origin}: {_dotted(key)}: unknown {'key' if above else 'section'}{guess} valid are: {', '.join(valid)}"


def _spell(above: Iterable[str], names: Iterable[str]) -> list[str]:
    """Spell keys as variables; a trailing `__…` stands for deeper keys."""
    keys = [(*above, name) for name in names]
    return [variable_of(key) + "__…" * is_branch(key) for key in keys]


def _origins(keys: Iterable[Key], settings: Settings) -> str:
    """Return the origins of the keys, or of those above or below them."""
    return " and ".join(dict.fromkeys(origin for key in keys for origin in _near(key, settings)))


def _near(key: Key, settings: Settings) -> Iterator[str]:
    for given, setting in settings.items():
        shared = min(len(given), len(key))
        if given[:shared] == key[:shared]:
            yield setting.origin


def _dotted(key: Key) -> str:
    """Return a dotted key; list items are [i]."""
    items = [is_list(key[:depth]) for depth in range(len(key))]
    return "".join(f"[{part}]" if item else f".{part}" for part, item in zip(key, items, strict=True)).removeprefix(".")
