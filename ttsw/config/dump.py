"""Writing a configuration as YAML that loads as the same configuration; with comments, it is the shipped file."""

import textwrap
from collections.abc import Iterator
from pathlib import PurePath

import yaml

from ttsw.config.schema import Config, EngineConfig, Section

_WIDTH = 110
_HEAD = """\
# ttsw's settings: every key, with its default. All are optional. Times say their unit in their name.
# The order, later wins: defaults, this file, environment (TTSW_WORKER__GRPC_PORT=0), flags.
"""


class _Dumper(yaml.SafeDumper):
    """Writes 600000.0 as 600000, a path as text, and a list on one line."""


def _represent_float(dumper: yaml.SafeDumper, value: float) -> yaml.Node:
    return dumper.represent_int(int(value)) if value.is_integer() else dumper.represent_float(value)


def _represent_list(dumper: yaml.SafeDumper, value: tuple[object, ...]) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=True)


def _represent_path(dumper: yaml.SafeDumper, value: PurePath) -> yaml.Node:
    return dumper.represent_str(str(value))


def _represent_text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    # PyYAML's plain and single-quoted styles lose U+0085 and its like; the double-quoted one escapes them
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if value.isprintable() else '"')


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(float, _represent_float)
_Dumper.add_representer(tuple, _represent_list)
_Dumper.add_multi_representer(PurePath, _represent_path)


def to_yaml(config: Config, *, comments: bool = False) -> str:
    """Return `config` as YAML, with all its keys.

    Args:
        config: The configuration.
        comments: Whether to document each key in a comment.
    """
    return _HEAD + "\n".join(_commented(config, "")) + "\n" if comments else _dump(config.model_dump())


def _dump(value: object) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)


def _commented(section: Section, margin: str) -> Iterator[str]:
    plain = section.model_dump()
    for name, field in type(section).model_fields.items():
        if not margin:
            yield ""
        prefix = f"{margin}# "
        value = getattr(section, name)
        text = field.description or (type(value).__doc__ or "").partition("\n")[0]
        yield from textwrap.wrap(text, _WIDTH, initial_indent=prefix, subsequent_indent=prefix)
        if isinstance(value, Section):
            yield f"{margin}{name}:"
            yield from _commented(value, margin + "  ")
        elif name == "engines" and not value:
            yield f"{name}:"
            yield from (f"# {line}" for line in ("  piper:", *_commented(EngineConfig(), "    ")))
        else:
            yield textwrap.indent(_dump({name: plain[name]}), margin).rstrip()
