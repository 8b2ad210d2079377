"""Reading a metadata.yaml: into `Metadata`, or into an error that names each fault and its line.

The file may come from anyone, so it is read in bounded time and memory, whatever it holds.
"""

import difflib
import os
import reprlib
import stat
from collections.abc import Mapping
from pathlib import Path

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ttsw.config.keys import Key
from ttsw.config.yaml_file import parse_yaml
from ttsw.errors import ConfigError
from ttsw.models.metadata import AudioSection, CapabilitiesSection, Metadata, Origin, SizeSection

METADATA = "metadata.yaml"
MOST_BYTES = 1_000_000
MOST_DEPTH = 20
MOST_CHARACTERS = 3_000
"""Longest text; as a number in hexadecimal it still has fewer digits than Python agrees to print."""
_LOADER: type[yaml.SafeLoader | yaml.CSafeLoader] = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_shorten = reprlib.Repr()
_shorten.maxstring = _shorten.maxother = 60
_shorten.maxlevel = 2
_SECTIONS: Mapping[str, type[BaseModel]] = {
    "capabilities": CapabilitiesSection,
    "audio": AudioSection,
    "size": SizeSection,
    "files": Origin,
}


def read_metadata(path: Path) -> Metadata:
    """Read a metadata.yaml.

    Raises:
        ConfigError: It can't be read, is no YAML, is too large, or a value isn't possible; all faults are named.
    """
    text = _read(path)
    _check_bounds(text, path)
    tree, lines = parse_yaml(text, path, _LOADER)
    try:
        return Metadata.model_validate({} if tree is None else tree)
    except ValidationError as error:
        faults = [_sentence(fault, lines) for fault in error.errors(include_url=False)]
        raise ConfigError(f"{path}: " + "; ".join(faults[:8]) + ("; …" if len(faults) > 8 else "")) from None


def _read(path: Path) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ConfigError(f"{path}: is no regular file")
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise ConfigError(f"{path}: is larger than {MOST_BYTES // 1000} kB; metadata has one or two")
        return data.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8: the byte {error.object[error.start]:#04x} at {error.start}") from None


def _check_bounds(text: str, path: Path) -> None:
    """Refuse what would grow when it is constructed; what isn't YAML is left to the one who parses it."""
    depth = 0
    try:
        for event in yaml.parse(text, _LOADER):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            place = f"{path}, line {event.start_mark.line + 1 if event.start_mark else 1}"
            if isinstance(event, yaml.AliasEvent):
                raise ConfigError(f"{place}: aliases (*{event.anchor}) are not possible in a voice pack; write it out")
            if depth > MOST_DEPTH:
                raise ConfigError(f"{place}: nested more than {MOST_DEPTH} levels deep")
            if isinstance(event, yaml.ScalarEvent) and len(event.value) > MOST_CHARACTERS:
                raise ConfigError(f"{place}: a text of more than {MOST_CHARACTERS} characters")
    except yaml.YAMLError:
        return


def _sentence(error: ErrorDetails, lines: Mapping[Key, int]) -> str:
    key = tuple(str(part) for part in error["loc"] if part != "[key]")
    line = next((lines[key[:end]] for end in range(len(key), 0, -1) if key[:end] in lines), None)
    where = f"line {line}: {'.'.join(key)}" if line else ".".join(key) or "the file"
    if error["type"] == "missing":
        return f"{where} is missing"
    if error["type"] == "extra_forbidden":
        valid = _SECTIONS[key[0]].model_fields if len(key) > 1 else Metadata.model_fields
        near = difflib.get_close_matches(key[-1], valid, n=1)
        return f"{where}: unknown key; {f'did you mean {near[0]}? ' if near else ''}valid are: {', '.join(valid)}"
    wanted = error["msg"].replace("Input should be", "must be")
    if error["type"] in {"model_type", "mapping_type"}:
        wanted = "must be a mapping"
    if error["type"] == "string_type" and isinstance(error["input"], int | float):
        wanted = "must be a text: put it in quotes"  # YAML reads no, 12 and 1.0 as something else
    return f"{where}: {_shorten.repr(error['input'])} is not valid: {wanted}"
