"""Keys of settings, their types in the schema, and reading a text as a key's value.

A layer of the configuration is a flat `Settings`, from key to value and origin, so layers merge as dicts do. Nothing is
validated here: invalid values are passed on, for pydantic to refuse.
"""

import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel

from ttsw.config.schema import Config

Key = tuple[str, ...]


class Setting(NamedTuple):
    """A value and its origin: a file and line, a variable, or a flag."""

    value: object
    origin: str


Settings = dict[Key, Setting]

_BOOLS = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(("false", "no", "off", "0"), False)
_NULLS = ("", "null", "~")


def type_at(key: Key) -> Any:  # noqa: ANN401  # an annotation can be any object
    """Return the schema's annotation of `key`; None if the schema has no such key.

    >>> type_at(("worker", "grpc_port")), type_at(("worker", "port"))
    (<class 'int'>, None)
    """
    here: Any = Config
    for part in key:
        if isinstance(here, type) and issubclass(here, BaseModel):
            field = here.model_fields.get(part)
            here = None if field is None else field.annotation
        else:
            here = get_args(here)[1] if get_origin(here) is Mapping else None
    return here


def names_at(key: Key) -> tuple[str, ...]:
    """Return the names in the section at `key`; empty if any name is valid, or if it is no section."""
    here = type_at(key)
    return tuple(here.model_fields) if isinstance(here, type) and issubclass(here, BaseModel) else ()


def is_branch(key: Key) -> bool:
    """Return whether the schema has keys below `key`."""
    return bool(names_at(key)) or get_origin(type_at(key)) is Mapping


def is_list(key: Key) -> bool:
    """Return whether `key` is a list in the schema, possibly an optional one."""
    return tuple in set(_members(type_at(key)))


def leaves(tree: object, key: Key = ()) -> Iterator[tuple[Key, object]]:
    """Yield the settings of a nested mapping. An empty section (`redis:`) sets nothing."""
    if is_branch(key) and isinstance(tree, Mapping):
        for name, value in tree.items():
            yield from leaves(value, (*key, str(name)))
    elif not (is_branch(key) and tree is None):
        yield key, tree


def nest(settings: Settings) -> dict[str, object]:
    """Turn settings into a nested mapping.

    If one key is a prefix of another, the invalid one is kept, to be refused: a number in place of a section, or keys
    below a number.
    """
    tree: dict[str, Any] = {}
    for key, setting in sorted(settings.items()):
        here = tree
        for depth, part in enumerate(key[:-1], 1):
            if not isinstance(here.get(part, {}), dict):
                if is_branch(key[:depth]):
                    break
                here[part] = {}
            here = here.setdefault(part, {})
        else:
            here[key[-1]] = setting.value
    return tree


def from_text(text: str, key: Key) -> object:
    """Read `text` as a value for `key`; return the text itself if it isn't one, to be refused.

    >>> from_text("7002", ("worker", "grpc_port")), from_text("en, de", ("worker", "capabilities", "languages"))
    (7002, ['en', 'de'])
    >>> from_text("0, 1", ("model_manager", "gpus"))
    [0, 1]
    """
    wanted = set(_members(type_at(key)))
    if types.NoneType in wanted and text.strip().lower() in _NULLS:
        return None
    if tuple in wanted:
        items = text.strip().removeprefix("[").removesuffix("]").split(",")
        texts = [item.strip(" '\"") for item in items if item.strip()]
        numbers = int in set(_item_types(type_at(key)))
        return [int(each) if numbers and each.isascii() and each.isdigit() else each for each in texts]
    if wanted & {str, Path}:
        return text
    if bool in wanted:
        return _BOOLS.get(text.strip().lower(), text)
    for number in (int, float):
        if number in wanted:
            try:
                return number(text)
            except ValueError:
                continue
    return text


def _item_types(annotation: Any) -> Iterator[type]:  # noqa: ANN401
    """Yield the plain types of a list's items."""
    if get_origin(annotation) is tuple:
        yield from _members(get_args(annotation)[0])
    else:
        for each in get_args(annotation):
            yield from _item_types(each)


def _members(annotation: Any) -> Iterator[type]:  # noqa: ANN401
    """Yield the plain types of an annotation: of a union's members, or of a literal's values."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _members(get_args(annotation)[0])
    elif origin in {Union, types.UnionType}:
        for member in get_args(annotation):
            yield from _members(member)
    elif origin is Literal:
        yield from map(type, get_args(annotation))
    else:
        yield origin or annotation
