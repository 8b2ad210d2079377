"""Python environments of engine families: which families have one, where it is, and its state.

The torch families pin conflicting versions, and would add gigabytes to the worker. So each has an environment of its
own, and its engine runs in a process under that interpreter. A family has one if it has a list of requirements,
`requirements/<family>.txt`. `ttsw.adapters.envs.install` installs them.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from ttsw.adapters.families import families
from ttsw.config.folders import data_dir
from ttsw.errors import ConfigError, FailedPreconditionError, InternalError, NotFoundError
from ttsw.system.extras import install_hint

VARIABLE = "TTSW_ENGINES_DIR"
STAMP = ".installed"
"""File in an environment that records its installation. It is written last; without it, the install was interrupted."""

_PACKAGE = Path(__file__).resolve().parents[2]
_LISTS = Path(__file__).resolve().parents[1] / "requirements"
_PIN = re.compile(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+( ; python_version < '3\.\d+')?")
_WITH = "# with dependencies"


class EnvironmentState(StrEnum):
    """State of an environment."""

    ABSENT = "absent"
    INCOMPLETE = "incomplete"
    """The install was interrupted, or is in progress."""
    OUTDATED = "outdated"
    """The family's requirements have changed since the install."""
    READY = "ready"


@dataclass(frozen=True)
class Requirements:
    """The requirements of a family.

    Args:
        path: The list.
        pins: All pins, each `name==version`; the family's own library is first.
        leading: Pins installed with their dependencies; for the others, the list is complete.
        disk_mb: Disk space needed, MB.
        sha256: SHA-256 of the list, in hex.
    """

    path: Path
    pins: tuple[str, ...]
    leading: tuple[str, ...]
    disk_mb: float
    sha256: str


@dataclass(frozen=True)
class Stamp:
    """Record of an installation.

    Args:
        sha256: SHA-256 of its list of requirements.
        python: Version of its Python.
        date: Date of the install, UTC.
        ttsw: Version of ttsw that installed it.
        ms: Duration of the install, ms.
    """

    sha256: str
    python: str
    date: str
    ttsw: str
    ms: int

    def write(self, root: Path) -> None:
        """Write it into an environment."""
        (root / STAMP).write_text(json.dumps(asdict(self), indent=2) + "\n", "utf-8")

    @classmethod
    def read(cls, root: Path) -> "Stamp | None":
        """Read it; None if it is missing or damaged."""
        try:
            return cls(**json.loads((root / STAMP).read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None


@dataclass(frozen=True)
class Environment:
    """A family's environment.

    Args:
        family: The family.
        root: Its path, whether it exists or not.
        python: Its interpreter.
        state: Its state.
        stamp: Record of its install, if complete.
    """

    family: str
    root: Path
    python: Path
    state: EnvironmentState
    stamp: Stamp | None = None

    def size_bytes(self) -> int:
        """Return its size, including leftovers of interrupted installs, bytes. Takes about a second."""
        places = {self.root.resolve(), *(folder.resolve() for folder in folders(self.root))}
        return sum(
            os.lstat(f"{here}/{name}").st_size
            for place in places
            for here, _, names in os.walk(place)
            for name in names
        )


def own_families() -> tuple[str, ...]:
    """Return the families that have an environment of their own."""
    return tuple(sorted(path.stem for path in _LISTS.glob("*.txt")))


def requirements(family: str) -> Path | None:
    """Return the path of a family's requirements; None if it has no environment of its own."""
    return _LISTS / f"{family}.txt" if family in own_families() else None


def read_requirements(family: str) -> Requirements:
    """Read the requirements of a family.

    Raises:
        NotFoundError: The family doesn't exist.
        FailedPreconditionError: It has no environment of its own.
    """
    path = requirements(family)
    if path is None:
        known = families()
        if family in known:
            raise FailedPreconditionError(
                f"family {family!r} runs in the worker's own environment; what it needs comes with: "
                f"{install_hint(family)}"
            )
        names = sorted({*known, *own_families()})
        raise NotFoundError(f"no family {family!r}; there are: {', '.join(names)}")
    return parse_requirements(path)


def parse_requirements(path: Path) -> Requirements:
    """Read a list of pins.

    Raises:
        InternalError: A line isn't an exact pin, or the line with the disk space is missing.
    """
    data = path.read_bytes()
    lines = data.decode("utf-8").splitlines()
    disk = next((found for line in lines if (found := re.fullmatch(r"# disk: (\d+) MB", line))), None)
    pins = {pin: line.rstrip().endswith(_WITH) for line in lines if (pin := line.partition("#")[0].strip())}
    wrong = [pin for pin in pins if not _PIN.fullmatch(pin)]
    if wrong or not pins or disk is None:
        raise InternalError(
            f"{path} must have a line '# disk: <number> MB' and lines 'name==version'"
            + (f", and {wrong[0]!r} is neither" if wrong else "")
        )
    leading = tuple(pin for pin, with_dependencies in pins.items() if with_dependencies)
    return Requirements(path, tuple(pins), leading, float(disk[1]), hashlib.sha256(data).hexdigest())


def engines_dir(environ: Mapping[str, str], package: Path = _PACKAGE) -> Path:
    """Return the folder of the environments: `$TTSW_ENGINES_DIR`, by default a checkout's `.engines`, else the user's.

    >>> engines_dir({"TTSW_ENGINES_DIR": "/engines"}).as_posix()
    '/engines'

    Args:
        environ: The environment variables.
        package: The folder of the package `ttsw`.

    Raises:
        ConfigError: The variable isn't an absolute path.
    """
    if named := environ.get(VARIABLE):
        if not Path(named).is_absolute():
            raise ConfigError(
                f"{VARIABLE} is {named!r}, and must be an absolute path, for example /var/lib/ttsw/engines"
            )
        return Path(named)
    if (package.parent / "pyproject.toml").is_file():
        return package.parent / ".engines"
    return data_dir(environ) / "engines"


def find(family: str, environ: Mapping[str, str]) -> Environment:
    """Return a family's environment.

    Raises:
        NotFoundError: The family doesn't exist.
        FailedPreconditionError: It has no environment of its own.
        ConfigError: The variable for the folder of environments isn't valid.
    """
    wanted = read_requirements(family)
    root = engines_dir(environ) / family
    python = root / "bin" / "python"
    stamp = Stamp.read(root) if python.exists() else None
    if stamp is not None:
        state = EnvironmentState.READY if stamp.sha256 == wanted.sha256 else EnvironmentState.OUTDATED
        return Environment(family, root, python, state, stamp)
    begun = os.path.lexists(root) or folders(root)
    return Environment(family, root, python, EnvironmentState.INCOMPLETE if begun else EnvironmentState.ABSENT)


def folders(root: Path) -> list[Path]:
    """Return the folders of all installs of an environment: the one in use, and leftovers."""
    return sorted(root.parent.glob(f".{root.name}.*"))
