"""Commands that install an extra, for this interpreter, from this checkout or wheel.

No hint installs ttsw by name from a package index, since nobody owns that name there.
"""

import re
import shlex
import sys
from importlib import metadata
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def install_hint(extra: str, checkout: Path = CHECKOUT) -> str:
    """Return the command that installs an extra; a phrase for an extra that ttsw doesn't have.

    Args:
        extra: The extra's name.
        checkout: The folder that contains the package.
    """
    needed = _needed(extra)
    if not needed:
        return f"install, for {sys.executable}, what the package that brings {extra} names"
    if (checkout / "pyproject.toml").is_file():
        return pip_line("install", "-e", f"{checkout}[{extra}]")
    return pip_line("install", *needed)


def pip_line(*arguments: str) -> str:
    """Return a command line for this interpreter's pip."""
    return shlex.join([sys.executable or "python3", "-m", "pip", *arguments])


def _needed(extra: str) -> list[str]:
    """Return the requirements of an extra."""
    try:
        requires = metadata.requires("ttsw") or []
    except metadata.PackageNotFoundError:
        return []
    parts = [each.partition(";") for each in requires]
    of_extra = re.compile(rf"""extra\s*==\s*["']{re.escape(extra)}["']""")
    return [name.strip() for name, _, marker in parts if of_extra.search(marker)]
