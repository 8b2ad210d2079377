"""Reading a YAML file strictly: into settings that know their line, or into an error that names it.

YAML's own leniencies end here: a key given twice is refused, and so are several documents. An empty file sets nothing.
"""

from collections.abc import Iterator
from pathlib import Path

import yaml

from ttsw.config.keys import Key, Setting, Settings, leaves
from ttsw.errors import ConfigError


def read_settings(path: Path) -> Settings:
    """Read the settings that `path` gives, each with file and line as its origin.

    Raises:
        ConfigError: The file can't be read, isn't UTF-8 or YAML, repeats a key, or isn't a mapping.
    """
    tree, lines = parse_yaml(_read(path), path)
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        wanted = "must be a mapping of sections, such as worker:"
        raise ConfigError(f"{path}: the file holds a {type(tree).__name__}; it {wanted}")
    return {key: Setting(value, f"{path}, line {lines.get(key, 1)}") for key, value in leaves(tree)}


def parse_yaml(
    text: str, path: Path, loader_type: type[yaml.SafeLoader | yaml.CSafeLoader] = yaml.SafeLoader
) -> tuple[object, dict[Key, int]]:
    """Parse one document strictly: what it holds (None where it is empty), and each key's line.

    Args:
        text: The document.
        path: Where it is from, for the errors.
        loader_type: What parses it; the C loader is ten times faster and says the same in other words.

    Raises:
        ConfigError: It isn't YAML, or repeats a key.
    """
    try:
        loader = loader_type(text)
        node = loader.get_single_node()
        if node is None:
            return None, {}
        lines = dict(_lines(node, (), set(), path))
        return loader.construct_document(node), lines
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"{_place(path, error.problem_mark)}: not valid YAML: {_problem(error)}") from None
    except ConfigError:
        raise
    except Exception as error:  # PyYAML's constructors raise whatever they stumble over: !!timestamp x, !!bool x
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None


def _read(path: Path) -> str:
    if path.is_dir():
        raise ConfigError(f"{path}: is a directory; a YAML file is wanted")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8: the byte {error.object[error.start]:#04x} at {error.start}") from None


def _lines(node: yaml.Node, key: Key, seen: set[int], path: Path) -> Iterator[tuple[Key, int]]:
    """Find each key's line; `seen` keeps aliases from being walked twice, or for ever."""
    if not isinstance(node, yaml.MappingNode) or id(node) in seen:
        return
    seen.add(id(node))
    first: dict[str, int] = {}
    for name, value in node.value:
        if not isinstance(name, yaml.ScalarNode):
            continue  # constructing the document refuses it, and says where
        line = name.start_mark.line + 1
        if name.value in first:
            dotted = ".".join((*key, name.value))
            place = _place(path, name.start_mark)
            raise ConfigError(f"{place}: {dotted}: given twice; the first is on line {first[name.value]}")
        first[name.value] = line
        yield (*key, name.value), line
        yield from _lines(value, (*key, name.value), seen, path)


def _place(path: Path, mark: yaml.Mark | None) -> str:
    return f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(path)


def _problem(error: yaml.MarkedYAMLError) -> str:
    return " ".join(f"{error.problem or ''} {error.context or ''}".split())
