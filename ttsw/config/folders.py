"""Where a user's own voice packs and the worker's memory of models are, after the XDG base directory specification."""

from collections.abc import Mapping
from pathlib import Path

from ttsw.errors import ConfigError


def data_dir(environ: Mapping[str, str]) -> Path:
    """Give the folder for what a user adds: `$XDG_DATA_HOME/ttsw`, by default `~/.local/share/ttsw`.

    >>> data_dir({"XDG_DATA_HOME": "/data"}).as_posix()
    '/data/ttsw'
    """
    return _base(environ, "XDG_DATA_HOME", ".local/share")


def state_dir(environ: Mapping[str, str]) -> Path:
    """Give the folder for what can be measured again: `$XDG_STATE_HOME/ttsw`, by default `~/.local/state/ttsw`."""
    return _base(environ, "XDG_STATE_HOME", ".local/state")


def _base(environ: Mapping[str, str], variable: str, default: str) -> Path:
    named = Path(environ.get(variable, ""))
    if named.is_absolute():  # the specification has a relative path ignored
        return named / "ttsw"
    try:
        return Path.home() / default / "ttsw"
    except RuntimeError as error:
        raise ConfigError(f"the user who runs this has no home directory; set {variable} to a folder") from error
