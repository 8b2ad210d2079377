"""Where `ttsw bench` writes a profile: decides what it may replace, before an hour is spent on measuring."""

import os
import re
from pathlib import Path

from ttsw.cli.ui.console import write_text
from ttsw.errors import AlreadyExistsError, ConfigError, InvalidArgumentError
from ttsw.profiles.files import PARTIAL, SUFFIX, list_profiles, own_folder, write_profile
from ttsw.profiles.schema import Profile
from ttsw.profiles.writer import to_yaml


def profile_name(file: Path) -> str:
    """A profile has its file's name.

    >>> profile_name(Path("profiles/My GPU.yaml"))
    'my-gpu'
    """
    return "-".join(re.findall(r"[a-z0-9]+", file.stem.lower()))[:100].strip("-") or "profile"


def check_target(file: Path, *, replace: bool) -> None:
    """See that the profile can be written, before an hour is spent on it.

    Args:
        file: Where it is to go.
        replace: Whether it may take another one's place.

    Raises:
        InvalidArgumentError: It can't be written, or its name isn't a profile's.
        AlreadyExistsError: There is one, and it isn't to be replaced.
    """
    if file.suffix != SUFFIX or file.name.endswith(PARTIAL):
        raise InvalidArgumentError(
            f"--out {file}: a profile's name ends in {SUFFIX}, and {PARTIAL} is for interrupted measurements"
        )
    folder = next(each for each in file.absolute().parents if each.exists())
    if file.is_dir() or not folder.is_dir() or not os.access(file if file.exists() else folder, os.W_OK):
        raise InvalidArgumentError(f"{file} can't be written; --out names a file for the profile")
    if replace:
        return
    if file.exists():
        raise AlreadyExistsError(f"there is a profile {file}; --replace replaces it, and --out names another file")
    shipped = {each.name for each in list_profiles(os.environ) if each.origin == "shipped"}
    if file.stem in shipped and file.absolute().parent == own_folder(os.environ).absolute():
        raise AlreadyExistsError(
            f"a shipped profile has the name {file.stem}; --replace has yours in its place from now on, and --out "
            "names another file"
        )


def keep(profile: Profile, file: Path) -> Profile:
    """Write a profile; where that fails, write it to stdout, since it took so long to measure.

    Raises:
        ConfigError: The file can't be written.
    """
    try:
        return write_profile(profile, file)
    except ConfigError:
        write_text(to_yaml(profile))
        raise
