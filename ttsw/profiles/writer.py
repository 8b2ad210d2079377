"""Writing a profile as YAML that a person likes to read: a comment for each section, short things on one line.

Numbers are rounded to five digits, which is more than any of them is worth; what is absent is left out. What is read
back equals what was written, and `tidy` says what that is.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from ttsw.errors import ConfigError
from ttsw.profiles.schema import Profile
from ttsw.system.files import write_whole

DIGITS = 5
WIDTH = 118
ROW_WIDTH = 400
"""Levels stand on one line each, whatever its length, so that they read as a table."""
_COMMENTS = {
    "format": "What these keys mean; a file of another format is refused.",
    "device": "What was measured. Memory is in MB of 10⁶ bytes.",
    "host": "The machine that it is in.",
    "software": "Versions that have a say in the figures.",
    "slo": "What a level of load must keep to.",
    "floor_mb": "What an engine's process takes of the device before it has a model, MB.",
    "disturbances": "What disturbed the measurement.",
    "models": "What is known of each model. sweep: what was measured, level by level.",
    "interference": "What models do to each other.",
    "derived": "What a server runs by.",
    "notes": "What a reader should know.",
}
_PROVENANCE = {
    "measured": "measured by ttsw bench",
    "partial": "PARTIAL: ttsw bench was interrupted, and no server runs by it",
    "estimated": "ESTIMATED, not measured",
}
_ESTIMATED = {
    "device": "What it is estimated for, from published specifications. Memory is in MB of 10⁶ bytes.",
    "models": "What is estimated of each model; nothing of it was measured.",
}
_SHORT = {"session_mb", "ttfa_ms", "rtf", "jitter_ms", "stop_ms", "load_s", "unload_s", "slo", "level"}
"""Sections that stand on one line."""
_EMPTY: tuple[object, ...] = ("", (), [], {})
_PROSE = re.compile(r"(?=.{100})[!-~–’]+(?: [!-~–’]+)+")
_PLAIN_LINES = re.compile(r"(?:\S(?:[^\n]*\S)?\n)+\S(?:[^\n]*\S)?\n?")


class _Line(dict[str, Any]):
    """A mapping that stands on one line, if it is short enough."""


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indent lists, too."""
        super().increase_indent(flow, indentless=False)


def write_profile(profile: Profile, path: Path) -> Profile:
    """Write a profile, whole or not at all.

    Returns:
        The profile as it is read back: numbers rounded.

    Raises:
        ConfigError: It can't be written there.
    """
    tidied = tidy(profile)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, to_yaml(tidied).encode())
    except OSError as error:
        raise ConfigError(f"{path}: the profile cannot be written: {error.strerror}") from None
    return tidied


def to_yaml(profile: Profile) -> str:
    """Write a profile out."""
    how = _PROVENANCE[profile.provenance]
    lines = [f"# A profile of ttsw: what one device can do with which models; {how}.\n"]
    comments = _COMMENTS | (_ESTIMATED if profile.provenance == "estimated" else {})
    for name, value in _leave_out(profile.model_dump(), profile.model_dump(exclude_defaults=True)).items():
        if name in comments:
            lines.append(f"\n# {comments[name]}\n")
        lines.append(_dump({name: _arrange(value, name)}, ROW_WIDTH if name in {"models", "interference"} else WIDTH))
    return "".join(lines)


def tidy(profile: Profile) -> Profile:
    """Round a profile's numbers."""
    return Profile.model_validate(_map_numbers(profile.model_dump(), _round))


def _round(number: float) -> float:
    return float(f"{number:.{DIGITS}g}")


def _map_numbers(value: object, change: Callable[[float], object]) -> Any:  # noqa: ANN401
    if isinstance(value, Mapping):
        return {key: _map_numbers(item, change) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_map_numbers(item, change) for item in value]
    return change(value) if isinstance(value, float) else value


def _leave_out(value: Any, telling: Any) -> Any:  # noqa: ANN401
    """Leave out what is absent, and what is empty and has the same meaning left out: it isn't in `telling`."""
    if isinstance(value, Mapping):
        return {
            key: _leave_out(item, telling.get(key, {}) if isinstance(telling, Mapping) else {})
            for key, item in value.items()
            if item is not None and (key in telling or item not in _EMPTY)
        }
    if isinstance(value, tuple | list):
        return [_leave_out(item, telling[number] if telling else {}) for number, item in enumerate(value)]
    return value


def _arrange(value: Any, name: str, depth: int = 0) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        inside = {key: _arrange(item, key, depth + 1) for key, item in value.items()}
        return _Line(inside) if (name in _SHORT and depth != 1) or not value else inside
    if isinstance(value, list):
        return [_Line(item) if name == "sweep" else _arrange(item, "", depth + 1) for item in value]
    return value


def _dump(tree: object, width: int) -> str:
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=width)


def _represent_line(dumper: yaml.SafeDumper, value: _Line) -> yaml.Node:
    return dumper.represent_mapping("tag:yaml.org,2002:map", value.items(), flow_style=True)


def _represent_number(dumper: yaml.SafeDumper, value: float) -> yaml.Node:
    """Write a whole number without a point; it is read as a number all the same."""
    if value.is_integer() and abs(value) < 1e15:
        return dumper.represent_int(int(value))
    return dumper.represent_float(value)


def _represent_text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    """Choose how a text is quoted; PyYAML would break some that have characters which end lines."""
    if all(line.isprintable() for line in value.split("\n")):
        style = "|" if _PLAIN_LINES.fullmatch(value) else ">" if _PROSE.fullmatch(value) else None
    else:
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _represent_list(dumper: yaml.SafeDumper, value: list[Any]) -> yaml.Node:
    flow = all(isinstance(item, str | int | float) for item in value) and sum(len(str(item)) for item in value) < WIDTH
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=flow)


def _represent_date(dumper: yaml.SafeDumper, value: datetime) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:timestamp", value.isoformat())


_Dumper.add_representer(_Line, _represent_line)
_Dumper.add_representer(float, _represent_number)
_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(datetime, _represent_date)
