"""Where a user's own voice packs and the worker's memory of models are, after the XDG base directory specification."""

from collections.abc import Mapping
from pathlib import Path


def data_dir(environ: Mapping[str, str]) -> Path:
    """Give the folder for what a user adds: `$XDG_DATA_HOME/ttsw`, by default `~/.local/share/ttsw`.

    >>> data_dir({"XDG_DATA_HOME": "/data"}).as_posix()
    '/data/ttsw'
    """
    return _base(environ.get("XDG_DATA_HOME", ""), ".local/share")


def state_dir(environ: Mapping[str, str]) -> Path:
    """Give the folder for what can be measured again: `$XDG_STATE_HOME/ttsw`, by default `~/.local/state/ttsw`."""
    return _base(environ.get("XDG_STATE_HOME", ""), ".local/state")


def _base(named: str, default: str) -> Path:
    base = Path(named)  # the specification has a relative path ignored
    return (base if base.is_absolute() else Path.home() / default) / "ttsw"
