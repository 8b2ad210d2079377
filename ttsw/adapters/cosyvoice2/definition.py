"""What `cosyvoice2.yaml` says of a model: read as data, by a loader that makes nothing of it.

The file is one of hyperpyyaml's, whose tags call whatever they name. Here a tag becomes a record of its name and its
arguments, if it is one of those that such a file has; all else is refused. Which classes are made of which record is
decided by `ttsw.adapters.cosyvoice2.checkpoint`.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ttsw.errors import UnavailableError
from ttsw.system.machine import cannot_read

_NAME = re.compile(r"(?:cosyvoice|matcha)(?:\.\w+)+|omegaconf\.DictConfig")
"""What a tag may name. Nothing is done with the name but to compare it."""
_SEEDS = ("random.seed", "numpy.random.seed", "torch.manual_seed", "torch.cuda.manual_seed_all")
"""Calls that stand in every such file, and that are for training."""
_FACTOR = re.compile(r"<(\w+)>|([0-9.]+)")
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class DefinitionRecord:
    """A class with its arguments, as the file names them.

    Args:
        name: The class's.
        arguments: By name.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Reference:
    text: str


class _Loader(yaml.SafeLoader):
    """Makes plain values and records."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose a node; refuse an alias, since a few lines of them may stand for more than there is memory."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has an alias, which no such file has")
        return super().compose_node(parent, index)


def _record(loader: yaml.SafeLoader, name: str, node: yaml.Node) -> DefinitionRecord:
    if not _NAME.fullmatch(name):
        raise yaml.YAMLError(f"{name!r} is no class or function of such a model (line {node.start_mark.line + 1})")
    if isinstance(node, yaml.ScalarNode) and not node.value:
        return DefinitionRecord(name)
    if not isinstance(node, yaml.MappingNode):
        raise yaml.YAMLError(f"{name} must have arguments by name (line {node.start_mark.line + 1})")
    return DefinitionRecord(name, {str(key): value for key, value in loader.construct_mapping(node, deep=True).items()})


def _seed(_loader: yaml.SafeLoader, name: str, node: yaml.Node) -> None:
    if name not in _SEEDS:
        raise yaml.YAMLError(f"it would call {name!r}, and is not read further (line {node.start_mark.line + 1})")


def _refer(_loader: yaml.SafeLoader, node: yaml.Node) -> _Reference:
    return _Reference(str(node.value))


_Loader.add_multi_constructor("!new:", _record)
_Loader.add_multi_constructor("!name:", _record)
_Loader.add_multi_constructor("!apply:", _seed)
_Loader.add_constructor("!ref", _refer)


def read_definition(path: Path) -> Mapping[str, Any]:
    """Read cosyvoice2.yaml: plain values and records, by the names that the file gives them.

    Raises:
        UnavailableError: It is none, is too large for one, or would call something; the text says where.
    """
    try:
        return _read(path)
    except OSError as error:
        raise cannot_read(path, error) from error
    except (ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
        text = " ".join(str(error).split())[:300]
        raise UnavailableError(f"{path} is not the definition of a CosyVoice 2 model: {text}") from error


def _read(path: Path) -> Mapping[str, Any]:
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(f"it is larger than {_MOST_BYTES} bytes")
    found = yaml.load(content, _Loader)
    if not isinstance(found, dict):
        raise TypeError("it holds no names")
    return {str(name): _resolved(value, found, 0) for name, value in found.items()}


def _resolved(value: Any, names: Mapping[Any, Any], depth: int) -> Any:  # noqa: ANN401 - whatever stands there
    """Put what is referred to in place of references: a name, or a product of names and numbers."""
    if depth > 20:
        raise ValueError("its references lead in a circle")
    if isinstance(value, DefinitionRecord):
        return DefinitionRecord(
            value.name, {str(key): _resolved(each, names, depth) for key, each in value.arguments.items()}
        )
    if isinstance(value, dict):
        return {str(key): _resolved(each, names, depth) for key, each in value.items()}
    if isinstance(value, list):
        return [_resolved(each, names, depth) for each in value]
    if not isinstance(value, _Reference):
        return value
    factors: list[Any] = []
    for part in value.text.split("*"):
        match = _FACTOR.fullmatch(part.strip())
        if match is None or (match[1] and match[1] not in names):
            raise ValueError(f"!ref {value.text} is no name, and no product of names and numbers")
        factors.append(_resolved(names[match[1]], names, depth + 1) if match[1] else float(match[2]))
    if len(factors) == 1:
        return factors[0]
    if not all(type(each) in {int, float} for each in factors):
        raise ValueError(f"!ref {value.text} multiplies what are no numbers")
    product = math.prod(factors)
    return int(product) if product == int(product) else product
