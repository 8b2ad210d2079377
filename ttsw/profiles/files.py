"""Profile files: reading one strictly, finding it by its name, listing those there are.

A profile may come from anyone, so it is read in bounded time and memory, whatever it holds. How one is written is
`ttsw.profiles.writing`'s to say, and which fits a device `ttsw.profiles.choosing`'s.
"""

import difflib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml
from pydantic import ValidationError

from ttsw.config.folders import data_dir
from ttsw.config.keys import Key
from ttsw.config.shipped import shipped_dir
from ttsw.config.yaml_file import parse_yaml
from ttsw.errors import ConfigError, NotFoundError
from ttsw.profiles.choosing import choose
from ttsw.profiles.faults import explain, place
from ttsw.profiles.schema import FORMAT, Profile
from ttsw.profiles.writing import write_profile

__all__ = ["Listed", "choose", "find_profile", "list_profiles", "own_folder", "read_profile", "write_profile"]

SUFFIX = ".yaml"
PARTIAL = ".partial.yaml"
"""What the name of an interrupted measurement's profile ends in."""
MOST_BYTES = 4_000_000
MOST_DEPTH = 20
MOST_CHARACTERS = 3_000
"""Longest text; as a number in hexadecimal it still has fewer digits than Python agrees to print."""
_LOADER: type[yaml.SafeLoader | yaml.CSafeLoader] = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


@dataclass(frozen=True)
class Listed:
    """A profile file that there is.

    Args:
        name: Its file's name without the suffix, by which it is found.
        path: Where it is.
        origin: Who brought it.
        profile: What it says; None where it is broken.
        fault: Why it is broken.
    """

    name: str
    path: Path
    origin: Literal["own", "shipped"]
    profile: Profile | None
    fault: str = ""


def read_profile(path: Path) -> Profile:
    """Read a profile.

    Raises:
        ConfigError: It can't be read, is no YAML, is too large, of another format, or a value isn't possible; all
            faults are named, each with its line.
    """
    text = _read(path)
    _check_bounds(text, path)
    tree, _ = parse_yaml(text, path, _LOADER)
    if not isinstance(tree, dict):
        held = "nothing" if tree is None else f"a {type(tree).__name__}"
        raise ConfigError(f"{path}: the file holds {held}; a profile is a mapping, as ttsw bench writes it")
    lines = dict(_lines(yaml.compose(text, _LOADER), (), path))
    given = tree.get("format", FORMAT)
    if type(given) is not int or given != FORMAT:
        raise ConfigError(
            f"{place(path, ('format',), lines)}: format: {given!r} is not valid: this version of ttsw reads profiles "
            f"of format {FORMAT}; measure it again with ttsw bench"
        )
    try:
        return Profile.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(explain(error.errors(include_url=False), path, lines)) from None


def find_profile(name_or_path: str, environ: Mapping[str, str]) -> Path:
    """Find a profile's file: a path as it is, a name in the user's own folder, then among those shipped.

    Raises:
        NotFoundError: There is none; the text lists those that there are.
    """
    if "/" in name_or_path or name_or_path.endswith((SUFFIX, ".yml")):
        if not Path(name_or_path).exists():
            raise NotFoundError(f"there is no profile file {name_or_path}")
        return Path(name_or_path)
    files = {name: path for name, path, _ in _files(environ)}
    if name_or_path in files:
        return files[name_or_path]
    near = difflib.get_close_matches(name_or_path, files, n=1)
    guess = f"; did you mean {near[0]}?" if near else ";"
    raise NotFoundError(f"no profile {name_or_path!r}{guess} there are: {', '.join(files) or 'none'}")


def list_profiles(environ: Mapping[str, str]) -> list[Listed]:
    """List the profiles by name, the broken ones with their fault; the user's own hide shipped ones of their name."""
    return [_look(*found) for found in _files(environ)]


def own_folder(environ: Mapping[str, str]) -> Path:
    """Give the folder of the user's own profiles: `$XDG_DATA_HOME/ttsw/profiles`."""
    return data_dir(environ) / "profiles"


def _look(name: str, path: Path, origin: Literal["own", "shipped"]) -> Listed:
    try:
        return Listed(name, path, origin, read_profile(path))
    except ConfigError as error:
        return Listed(name, path, origin, None, str(error))


def _files(environ: Mapping[str, str]) -> list[tuple[str, Path, Literal["own", "shipped"]]]:
    found: dict[str, tuple[str, Path, Literal["own", "shipped"]]] = {}
    with suppress(NotFoundError):  # an installation without profiles still has the user's own
        found |= {path.stem: (path.stem, path, "shipped") for path in _profiles_in(shipped_dir("profiles"))}
    found |= {path.stem: (path.stem, path, "own") for path in _profiles_in(own_folder(environ))}
    return [found[name] for name in sorted(found)]


def _profiles_in(folder: Path) -> list[Path]:
    return [path for path in folder.glob(f"*{SUFFIX}") if not path.name.startswith(".")]


def _read(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ConfigError(f"{path}: is a directory; a profile's YAML file is wanted")
        if not stat.S_ISREG(mode):
            raise ConfigError(f"{path}: is no regular file")
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise ConfigError(f"{path}: is larger than {MOST_BYTES // 1_000_000} MB; a profile has some tens of kB")
        return data.decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8: the byte {error.object[error.start]:#04x} at {error.start}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def _check_bounds(text: str, path: Path) -> None:
    """Refuse what would grow when it is constructed; what isn't YAML is left to the one who parses it."""
    depth = 0
    try:
        for event in yaml.parse(text, _LOADER):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            where = f"{path}, line {event.start_mark.line + 1 if event.start_mark else 1}"
            if isinstance(event, yaml.AliasEvent):
                raise ConfigError(f"{where}: aliases (*{event.anchor}) are not possible in a profile; write it out")
            if depth > MOST_DEPTH:
                raise ConfigError(f"{where}: nested more than {MOST_DEPTH} levels deep")
            if isinstance(event, yaml.ScalarEvent) and len(event.value) > MOST_CHARACTERS:
                raise ConfigError(f"{where}: a text of more than {MOST_CHARACTERS} characters")
    except yaml.YAMLError:
        return


def _lines(node: yaml.Node | None, key: Key, path: Path) -> Iterator[tuple[Key, int]]:
    """Find each key's line, those in lists too, where a key given twice is refused as well."""
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*key, str(index)), item.start_mark.line + 1
            yield from _lines(item, (*key, str(index)), path)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[str, int] = {}
    for name, value in node.value:
        line = name.start_mark.line + 1
        if name.value in seen:
            dotted = re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", ".".join((*key, name.value)))
            raise ConfigError(f"{path}, line {line}: {dotted}: given twice; the first is on line {seen[name.value]}")
        seen[name.value] = line
        yield (*key, name.value), line
        yield from _lines(value, (*key, name.value), path)
