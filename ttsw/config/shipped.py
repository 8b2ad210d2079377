"""Finding the files shipped with the package: voice packs, configurations, profiles, the wire contract."""

from pathlib import Path
from typing import Literal

from ttsw.errors import NotFoundError

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped_dir(name: Literal["voicepacks", "configs", "profiles", "proto"], package: Path = _PACKAGE) -> Path:
    """Return a shipped folder: inside the installed package, or beside it in a checkout.

    Args:
        name: The folder.
        package: The folder of the package `ttsw`.

    Raises:
        NotFoundError: The installation lacks the folder; the message names the places searched.
    """
    places = (package / "_shipped" / name, package.parent / name)
    for place in places:
        if place.is_dir():
            return place
    raise NotFoundError(f"no shipped folder {name!r}: looked at {' and '.join(map(str, places))}")
