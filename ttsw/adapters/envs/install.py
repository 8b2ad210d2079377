"""Installing and removing a family's environment, atomically.

An environment can't be moved, since its scripts hold its path. So each install gets a folder of its own, and a link is
switched to it in one step once it is complete; the previous environment serves until then. A lock excludes concurrent
installs, and the next install removes the leftovers of an interrupted one.
"""

import errno
import fcntl
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from time import monotonic

from ttsw.adapters.envs.environment import (
    VARIABLE,
    Environment,
    EnvironmentState,
    Requirements,
    Stamp,
    find,
    folders,
    read_requirements,
)
from ttsw.adapters.envs.installer import find_installer
from ttsw.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
)
from ttsw.version import __version__

Report = Callable[[str], None]

OLDEST = (3, 11)
_LAST_LINES = 8
_GRACE_S = 5.0
"""Longest time for a child process to end when told to, seconds."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


def install(
    family: str, environ: Mapping[str, str], report: Report, *, python: Path | None = None, force: bool = False
) -> Environment:
    """Install a family's environment, unless it is ready.

    Args:
        family: The family.
        environ: The environment variables, including those of pip and uv.
        report: Receives progress messages, and each line of the installer's output.
        python: Interpreter to create it with; by default the one that runs this.
        force: Install it again even if it is ready.

    Raises:
        NotFoundError: The family doesn't exist.
        FailedPreconditionError: It has no environment of its own.
        InvalidArgumentError: The interpreter can't be used.
        AlreadyExistsError: Another process is installing or removing it.
        ResourceExhaustedError: The disk is full, or would be.
        UnavailableError: The installer failed, or a folder can't be written.
    """
    wanted, root = read_requirements(family), find(family, environ).root
    with _os_errors(root.parent), _lock(root):
        found = find(family, environ)
        if found.state is EnvironmentState.READY and not force:
            return found
        version = python_version(base := python or Path(sys.executable))
        _clear(root, keep=root.readlink().name if root.is_symlink() else "")
        _check_room(root.parent, wanted)
        folder, started = root.parent / f".{family}.{token_hex(4)}", monotonic()
        try:
            _fill(folder, base, wanted, environ, report)
            date, ms = datetime.now(UTC).isoformat(timespec="seconds"), round((monotonic() - started) * 1000)
            Stamp(wanted.sha256, version, date, __version__, ms).write(folder)
            _turn(root, folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        _clear(root, keep=folder.name)
    return find(family, environ)


def remove(family: str, environ: Mapping[str, str]) -> None:
    """Remove a family's environment, and leftovers of interrupted installs.

    Raises:
        NotFoundError: The family doesn't exist.
        FailedPreconditionError: It has no environment.
        AlreadyExistsError: It is being installed.
        UnavailableError: It can't be removed.
    """
    found = find(family, environ)
    if found.state is EnvironmentState.ABSENT:
        raise FailedPreconditionError(f"there is no environment of {family!r} to remove in {found.root.parent}")
    with _os_errors(found.root.parent), _lock(found.root):
        if found.root.is_symlink():
            found.root.unlink()
        elif found.root.exists():
            found.root.rename(found.root.parent / f".{family}.{token_hex(4)}")  # so that no reader sees half of it
        _clear(found.root)


def python_version(python: Path) -> str:
    """Return the version of an interpreter.

    Raises:
        InvalidArgumentError: It isn't a Python interpreter, or is too old.
    """
    code = "import sys; print('.'.join(map(str, sys.version_info[:3])))"
    try:
        done = subprocess.run(
            [python, "-I", "-c", code], capture_output=True, encoding="utf-8", errors="replace", timeout=60, check=True
        )
        version = done.stdout.strip()
        known = tuple(int(part) for part in version.split("."))
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise InvalidArgumentError(f"{python} is no Python interpreter; give the path of one: {error}") from error
    if known < OLDEST:
        raise InvalidArgumentError(f"{python} is Python {version}; engines need {OLDEST[0]}.{OLDEST[1]} or newer")
    return version


def _fill(folder: Path, base: Path, wanted: Requirements, environ: Mapping[str, str], report: Report) -> None:
    """Create an environment with all requirements.

    Leading pins are installed first, with their dependencies constrained to the listed versions. For the others the
    list is complete, and their declared dependencies, which may conflict with it, are ignored.
    """
    report(f"making an environment in {folder}")
    _Runner(environ, report)("venv", [base, "-I", "-m", "venv", folder])
    installer = find_installer(folder / "bin" / "python", environ)
    run = _Runner(installer.environ, report)
    if wanted.leading:
        run(installer.name, [*installer.command, "--constraint", wanted.path, *wanted.leading])
    run(installer.name, [*installer.command, "--no-deps", "--requirement", wanted.path])


class _Runner:
    """Runs programs and reports their output line by line.

    They stay in this process group, so that Ctrl-C reaches them, and none outlives its call.
    """

    def __init__(self, environ: Mapping[str, str], report: Report) -> None:
        self._environ = dict(environ)
        self._report = report

    def __call__(self, name: str, command: list[str | Path]) -> None:
        last: deque[str] = deque(maxlen=_LAST_LINES)
        process = subprocess.Popen(
            command,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if text := line.rstrip():
                    last.append(text)
                    self._report(text)
            code = process.wait()
        finally:
            process.stdout.close()
            _end(process)
        if code:
            said = "".join(f"\n  {line}" for line in last)
            raise UnavailableError(
                f"{name} failed with exit code {code}, and nothing was installed; it said last:{said}"
            )


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _turn(root: Path, folder: Path) -> None:
    """Switch a family's link to a folder, in one step."""
    if root.exists() and not root.is_symlink():
        shutil.rmtree(root)  # not made by ttsw
    link = folder.with_name(f"{folder.name}.link")
    link.symlink_to(folder.name)
    link.rename(root)


def _clear(root: Path, keep: str = "") -> None:
    """Remove all installs of a family but one."""
    for path in folders(root):
        if path.is_symlink():
            path.unlink()
        elif path.name != keep:
            shutil.rmtree(path)


def _check_room(base: Path, wanted: Requirements) -> None:
    free_mb = shutil.disk_usage(base).free / 1e6
    if free_mb < wanted.disk_mb:
        raise ResourceExhaustedError(
            f"{wanted.path.stem} needs {wanted.disk_mb:.0f} MB, and {base} has {free_mb:.0f} MB free; make room, or "
            f"set {VARIABLE} to a folder on another disk"
        )


@contextmanager
def _lock(root: Path) -> Generator[None, None, None]:
    """Hold a family's lock. The lock file stays: removing it could admit two holders."""
    root.parent.mkdir(parents=True, exist_ok=True)
    with (root.parent / f"{root.name}.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyExistsError(
                f"the environment of {root.name!r} is being installed or removed by another ttsw; wait for its end"
            ) from None
        yield


@contextmanager
def _os_errors(base: Path) -> Generator[None, None, None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise ResourceExhaustedError(f"the disk of {base} is full; nothing was installed") from error
        raise UnavailableError(f"{base} cannot be used: {error.strerror}: {error.filename or base}") from error
