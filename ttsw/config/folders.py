"""The user's folders for voice packs and for the worker's state, by the XDG base directory specification.

A user without a home directory gets a temporary folder, so that voices work all the same.
"""

import os
import stat
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from ttsw.errors import ConfigError


def data_dir(environ: Mapping[str, str]) -> Path:
    """Return the folder for the user's data: `$XDG_DATA_HOME/ttsw`, by default `~/.local/share/ttsw`.

    >>> data_dir({"XDG_DATA_HOME": "/data"}).as_posix()
    '/data/ttsw'
    """
    return _base(environ, "XDG_DATA_HOME", ".local/share")


def state_dir(environ: Mapping[str, str]) -> Path:
    """Return the folder for state that can be recreated: `$XDG_STATE_HOME/ttsw`, by default `~/.local/state/ttsw`."""
    return _base(environ, "XDG_STATE_HOME", ".local/state")


def homeless(environ: Mapping[str, str]) -> Path | None:
    """Return the temporary folder that replaces the home directory; None if it isn't needed."""
    named = (Path(environ.get(each, "")).is_absolute() for each in ("XDG_DATA_HOME", "XDG_STATE_HOME"))
    if all(named):
        return None
    try:
        Path.home()
    except RuntimeError:
        return _homeless("XDG_DATA_HOME and XDG_STATE_HOME")
    return None


def _base(environ: Mapping[str, str], variable: str, default: str) -> Path:
    named = Path(environ.get(variable, ""))
    if named.is_absolute():  # the specification says to ignore relative paths
        return named / "ttsw"
    try:
        return Path.home() / default / "ttsw"
    except RuntimeError:
        return _homeless(variable) / default / "ttsw"


def _homeless(variable: str) -> Path:
    """Return a temporary folder for a user without a home directory; its content may be lost.

    Raises:
        ConfigError: No folder is safe from other users.
    """
    try:
        return _private_temporary()
    except OSError as error:
        raise ConfigError(
            f"the user who runs this has no home directory, and no temporary one ({error}); set {variable} to a folder"
        ) from error


@cache
def _private_temporary() -> Path:
    """Create a folder that only this user can write to, once; on a full disk it is not created."""
    user = os.getuid()
    folder = Path(os.environ.get("TMPDIR") or "/tmp") / f"ttsw-{user}"
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        told = folder.lstat()
        if not stat.S_ISDIR(told.st_mode) or told.st_uid != user or told.st_mode & 0o022:
            folder = Path(mkdtemp(prefix="ttsw-"))
    except OSError:
        pass  # a later write reports the error
    return folder
