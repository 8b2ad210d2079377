"""Profile files: reading one strictly, finding it by its name, listing those there are.

How one is written is `ttsw.profiles.writer`'s to say, and which fits a device `ttsw.profiles.selection`'s.
"""

import difflib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from ttsw.config.folders import data_dir
from ttsw.config.shipped import shipped_dir
from ttsw.config.yaml_file import Kind, read_yaml
from ttsw.errors import ConfigError, NotFoundError
from ttsw.profiles.faults import explain, place
from ttsw.profiles.schema import FORMAT, Profile
from ttsw.profiles.selection import choose
from ttsw.profiles.writer import write_profile

__all__ = ["Listed", "choose", "find_profile", "list_profiles", "own_folder", "read_profile", "write_profile"]

SUFFIX = ".yaml"
PARTIAL = ".partial.yaml"
"""What the name of an interrupted measurement's profile ends in."""
KIND = Kind("a profile", 4_000_000)


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
    tree, lines = read_yaml(path, KIND)
    if not isinstance(tree, dict):
        held = "nothing" if tree is None else f"a {type(tree).__name__}"
        raise ConfigError(f"{path}: the file holds {held}; a profile is a mapping, as ttsw bench writes it")
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
