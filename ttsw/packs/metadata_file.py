"""Reading metadata.yaml into `Metadata`, or raising an error that names each fault and its line."""

import difflib
import reprlib
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ttsw.config.keys import Key
from ttsw.config.yaml_file import Kind, read_yaml
from ttsw.errors import ConfigError
from ttsw.packs.metadata import AudioSection, CapabilitiesSection, Metadata, Origin, SizeSection

METADATA = "metadata.yaml"
KIND = Kind("a voice pack", 1_000_000)
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
        ConfigError: It can't be read, isn't YAML, is too large, or has an invalid value; the message names all faults.
    """
    tree, lines = read_yaml(path, KIND)
    try:
        return Metadata.model_validate({} if tree is None else tree)
    except ValidationError as error:
        faults = [_sentence(fault, lines) for fault in error.errors(include_url=False)]
        raise ConfigError(f"{path}: " + "; ".join(faults[:8]) + ("; …" if len(faults) > 8 else "")) from None


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
