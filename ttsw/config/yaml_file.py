"""Reading a YAML file strictly: its content and each key's line, or an error that names file and line.

Used for configurations, profiles and metadata of voice packs. Files may be hostile, so reading is bounded in time and
memory. Stricter than YAML itself: repeated keys and multiple documents are refused.
"""

import os
import reprlib
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from ttsw.config.keys import Key, Setting, Settings, leaves
from ttsw.errors import ConfigError
from ttsw.system.terminal import make_safe

if TYPE_CHECKING:
    from yaml import SafeLoader as _Parser
    from yaml._yaml import Mark as _CMark
elif yaml.__with_libyaml__:
    from yaml import CSafeLoader as _Parser  # ten times faster
else:
    from yaml import SafeLoader as _Parser

MOST_DEPTH = 20
MOST_CHARACTERS = 3_000
"""Longest text, characters; a hexadecimal number of this length still has fewer digits than Python converts."""
_WRONG = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""Exceptions of PyYAML's constructors for a text that doesn't match its tag."""
_shorten = reprlib.Repr()
_shorten.maxstring = _shorten.maxother = 60


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Args:
        name: Its name in errors, with an article.
        most_bytes: Largest size, bytes.
        is_own: Whether it is the operator's own, so that it may be a pipe and have aliases.
    """

    name: str
    most_bytes: int
    is_own: bool = False


CONFIGURATION = Kind("a configuration", 1_000_000, is_own=True)


def read_settings(path: Path) -> Settings:
    """Return the settings in a file, each with file and line as origin.

    Raises:
        ConfigError: The file can't be read, isn't UTF-8 or YAML, repeats a key, or isn't a mapping.
    """
    tree, lines = read_yaml(path, CONFIGURATION)
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        wanted = "must be a mapping of sections, such as worker:"
        raise ConfigError(f"{path}: the file holds a {type(tree).__name__}; it {wanted}")
    return {key: Setting(value, f"{path}, line {lines.get(key, 1)}") for key, value in leaves(tree)}


def read_yaml(path: Path, kind: Kind) -> tuple[object, dict[Key, int]]:
    """Read a file with one document: its content (None if empty), and each key's line.

    In keys, list items are named by their index.

    Raises:
        ConfigError: The file can't be read, is too large, isn't UTF-8 or YAML, or repeats a key.
    """
    text = _read(path, kind)
    try:
        _check_bounds(text, path, kind)
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None, {}
        lines = dict(_lines(node, (), "", set(), path))
        return loader.construct_document(node), lines
    except yaml.MarkedYAMLError as error:
        problem = f"{error.problem or ''} {error.context or ''}"
        raise ConfigError(f"{_place(path, error.problem_mark)}: not valid YAML: {_one_line(problem)}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid YAML: {_one_line(str(error))}") from None


class _Loader(_Parser):
    """A loader whose errors always have a position."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> object:
        """Construct a node's value.

        Raises:
            yaml.YAMLError: The value can't be constructed.
        """
        try:
            return super().construct_object(node, deep)
        except _WRONG:
            given = _shorten.repr(node.value) if isinstance(node, yaml.ScalarNode) else "this"
            problem = f"{given} is no {node.tag.rpartition(':')[2]}"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from None


def _read(path: Path, kind: Kind) -> str:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ConfigError(f"{path}: is a directory; a YAML file is wanted")
        if not (kind.is_own or stat.S_ISREG(mode)):
            raise ConfigError(f"{path}: is no regular file")
        wait = 0 if kind.is_own else os.O_NONBLOCK
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | wait), "rb") as file:
            data = file.read(kind.most_bytes + 1)
        if len(data) > kind.most_bytes:
            raise ConfigError(f"{path}: is larger than {kind.most_bytes // 1000} kB, too large for {kind.name}")
        return data.decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8: the byte {error.object[error.start]:#04x} at {error.start}") from None


def _check_bounds(text: str, path: Path, kind: Kind) -> None:
    """Refuse content that would grow when constructed."""
    depth = 0
    for event in yaml.parse(text, _Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) and not kind.is_own:
            fault = f"aliases (*{event.anchor}) are not possible in {kind.name}; write it out"
        elif depth > MOST_DEPTH:
            fault = f"nested more than {MOST_DEPTH} levels deep"
        elif isinstance(event, yaml.ScalarEvent) and len(event.value) > MOST_CHARACTERS:
            fault = f"a text of more than {MOST_CHARACTERS} characters"
        else:
            continue
        raise ConfigError(f"{_place(path, event.start_mark)}: {fault}")


def _lines(node: yaml.Node, key: Key, dotted: str, seen: set[int], path: Path) -> Iterator[tuple[Key, int]]:
    """Yield each key's line; `seen` prevents walking aliases twice, or endlessly."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*key, str(index)), item.start_mark.line + 1
            yield from _lines(item, (*key, str(index)), f"{dotted}[{index}]", seen, path)
    elif isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for name, value in node.value:
            if not isinstance(name, yaml.ScalarNode):
                continue  # constructing the document reports it with its position
            line, here = name.start_mark.line + 1, f"{dotted}.{name.value}".removeprefix(".")
            if name.value in first:
                place = _place(path, name.start_mark)
                raise ConfigError(f"{place}: {make_safe(here)}: given twice; the first is on line {first[name.value]}")
            first[name.value] = line
            yield (*key, name.value), line
            yield from _lines(value, (*key, name.value), here, seen, path)


def _place(path: Path, mark: "yaml.Mark | _CMark | None") -> str:
    return f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(path)


def _one_line(text: str) -> str:
    return " ".join(text.split())
