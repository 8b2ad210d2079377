"""How an extra gets installed: for the interpreter that runs this, from the checkout or the wheel that this is.

Nobody owns the name `ttsw` on a package index, so that no hint says to install it from one.
"""

import re
import shlex
import sys
from importlib import metadata
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def install_hint(extra: str, checkout: Path = CHECKOUT) -> str:
    """Give the command that installs an extra here; words where no extra of that name is ours.

    Args:
        extra: The extra's name.
        checkout: The folder that the package is in.
    """
    needed = _needed(extra)
    if not needed:
        return f"install, for {sys.executable}, what the package that brings {extra} names"
    if (checkout / "pyproject.toml").is_file():
        return pip_line("install", "-e", f"{checkout}[{extra}]")
    return pip_line("install", *needed)


def pip_line(*arguments: str) -> str:
    """Give a command of the interpreter's own pip."""
    return shlex.join([sys.executable or "python3", "-m", "pip", *arguments])


def _needed(extra: str) -> list[str]:
    """The requirements of an extra."""
    try:
        requires = metadata.requires("ttsw") or []
    except metadata.PackageNotFoundError:
        return []
    parts = [each.partition(";") for each in requires]
    of_extra = re.compile(rf"""extra\s*==\s*["']{re.escape(extra)}["']""")
    return [name.strip() for name, _, marker in parts if of_extra.search(marker)]
