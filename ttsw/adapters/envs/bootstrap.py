"""Running a module of ttsw under another interpreter, in which ttsw is not installed.

`command` returns the command line, which runs this file as a script. Only the named packages are made importable, each
from its own folder; nothing else of their environment gets onto the path, so that both environments keep their own
versions. This file needs the standard library only.
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
    """Return the command line that runs a module under an interpreter, with `ttsw` importable.

    Args:
        python: The interpreter.
        module: The module, run as `python -m` would run it.
        args: Its arguments.
        packages: Further top-level packages or modules by name: the folder or file of each.
    """
    found = {"ttsw": _SCRIPT.parents[2], **(packages or {})}
    # -I: ignore PYTHONPATH, the user's site-packages and the current folder.
    return [str(python), "-I", str(_SCRIPT), *(f"{name}={path}" for name, path in found.items()), module, *args]


class Finder(MetaPathFinder):
    """Finds given top-level packages and modules in their own places, before all others.

    Args:
        places: The folder of a package, or the file of a module, by name.
    """

    def __init__(self, places: Mapping[str, Path]) -> None:
        self._places = dict(places)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module, if it is one of these."""
        place = self._places.get(fullname)
        if place is None or path is not None:
            return None
        if place.is_dir():
            return spec_from_file_location(fullname, place / "__init__.py", submodule_search_locations=[str(place)])
        return spec_from_file_location(fullname, place)


def main(arguments: Sequence[str]) -> None:
    """Run `NAME=PLACE… MODULE [ARGUMENT…]`."""
    if not sys.flags.safe_path:
        del sys.path[0]  # this script's folder, whose files would be importable as top-level modules
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
