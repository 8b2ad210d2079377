"""Runs a module of ttsw under another interpreter, in which ttsw is not installed.

`command` gives the command line, and this file, run as a script, is what it starts. Only the packages named are brought
along, each from its own folder: nothing else of the environment that they stand in gets on the other's path, so that
both keep their own versions of everything. The standard library is all that is needed here.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - as a script, this runs under whatever interpreter a person chose
    sys.exit("ttsw needs Python 3.11 or newer, and {} is {}.{}".format(sys.executable, *sys.version_info[:2]))

import runpy
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

_SCRIPT = Path(__file__).resolve()


def command(python: Path, module: str, *args: str, packages: Mapping[str, Path] | None = None) -> list[str]:
    """Give the command line that runs a module under an interpreter, with `ttsw` to be imported there.

    Args:
        python: The interpreter.
        module: The module, run as `python -m` would run it.
        args: Its arguments.
        packages: Further top packages, or top modules, by name: the folder or the file of each.
    """
    found = {"ttsw": _SCRIPT.parents[2], **(packages or {})}
    # -I: neither PYTHONPATH nor the user's own packages nor the current folder are looked at.
    return [str(python), "-I", str(_SCRIPT), *(f"{name}={path}" for name, path in found.items()), module, *args]


class Finder(MetaPathFinder):
    """Finds top packages and modules in places of their own, ahead of all others.

    Args:
        places: The folder of a package, or the file of a module, by name.
    """

    def __init__(self, places: Mapping[str, Path]) -> None:
        self._places = dict(places)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module, if it is one of these."""
        place = self._places.get(fullname)
        if place is None or path is not None:
            return None
        if place.is_dir():
            return spec_from_file_location(fullname, place / "__init__.py", submodule_search_locations=[str(place)])
        return spec_from_file_location(fullname, place)


def main(arguments: Sequence[str]) -> None:
    """Run `NAME=PLACE… MODULE [ARGUMENT…]`."""
    if not sys.flags.safe_path:
        del sys.path[0]  # this script's folder, whose files would pass for top modules
    count = next((index for index, text in enumerate(arguments) if "=" not in text), None)
    if count is None:
        sys.exit(f"no module to run; write {_SCRIPT.name} NAME=PLACE… MODULE [ARGUMENT…]")
    places = {name: Path(place) for name, _, place in (text.partition("=") for text in arguments[:count])}
    for name, place in places.items():
        if not (place / "__init__.py" if place.is_dir() else place).is_file():
            sys.exit(f"there is no package {name} in {place}: it needs a folder with __init__.py, or a file")
    sys.meta_path.insert(0, Finder(places))
    sys.argv = list(arguments[count:])
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
