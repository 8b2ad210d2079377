"""Inspecting an engine's interpreter, from inside: versions, devices, whether an adapter can be imported.

`ttsw.adapters.envs.bootstrap` runs it there, as `look MODULE:CLASS [LIBRARY…]`, which writes a line of JSON, or as
`build MODULE FOLDER SIZE`, which makes a voice pack. It imports only the standard library and the named modules.
"""

import json
import platform
import sys
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def look(adapter: str, libraries: Iterable[str]) -> dict[str, Any]:
    """Import an adapter, and describe the environment.

    Raises:
        ImportError: The adapter can't be imported.
        AttributeError: Its module lacks the class.
    """
    module, _, name = adapter.partition(":")
    getattr(import_module(module), name)
    return {
        "python": platform.python_version(),
        "libraries": {library: _version(library) for library in libraries},
        "devices": _devices(),
    }


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"


def _devices() -> list[str]:
    """Return the devices that torch sees; only the CPU without torch."""
    if find_spec("torch") is None:
        return ["cpu"]
    cuda = import_module("torch").cuda
    gpus = [cuda.get_device_properties(index) for index in range(cuda.device_count())]
    return ["cpu", *(f"cuda:{i} ({gpu.name}, {gpu.total_memory / 2**30:.0f} GiB)" for i, gpu in enumerate(gpus))]


def main(verb: str, named: str, *more: str) -> None:
    """Run a command."""
    if verb == "build":
        folder, size = more
        import_module(named).build(Path(folder), size)
    else:
        sys.stdout.write(f"\n{json.dumps(look(named, more))}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
