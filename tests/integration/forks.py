"""Runs many commands of the command line in forks of one process, since importing it takes longer than a command.

As a program: reads a JSON list of cases on stdin, and writes their outcomes as a JSON list on stdout.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile

PATIENCE_S = 60
AT_ONCE = 2


@dataclass
class Case:
    """A command line, and in which state its world is.

    Args:
        arguments: Behind `ttsw`.
        stdin: "null" or "closed".
        stdout: "file", "closed", "full" or "gone" (a pipe without a reader).
        most_bytes: Largest file that it may write.
        environment: More variables.
        user: The user that it runs as.
        stderr: "file" or "closed".
    """

    arguments: list[str]
    stdin: str = "null"
    stdout: str = "file"
    most_bytes: int | None = None
    environment: dict[str, str] = field(default_factory=dict)
    user: int | None = None
    stderr: str = "file"


@dataclass
class Outcome:
    """How it ended.

    Args:
        code: Its exit code; negative for a signal.
        out: Its stdout.
        err: Its stderr.
    """

    code: int
    out: str
    err: str


def run_all(cases: list[Case], environment: dict[str, str]) -> list[Outcome]:
    """Run commands, and give their outcomes in the same order."""
    given = json.dumps([asdict(case) for case in cases])
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.forks"], input=given, env=environment, cwd=Path(__file__).parents[2],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return [Outcome(**each) for each in json.loads(done.stdout)]


def main() -> None:
    import ttsw.cli  # noqa: PLC0415 - in this process alone
    from ttsw.adapters.families import adapter_class  # noqa: PLC0415
    from ttsw.audio.loudness import load_meter  # noqa: PLC0415
    from ttsw.cli.main import COMMANDS  # noqa: PLC0415

    assert ttsw.cli
    # Imported here, once for all, and because another user may have no right to read the interpreter's folder:
    for command in COMMANDS.values():
        import_module(command.partition(":")[0])
    load_meter()
    adapter_class("mock")
    b"x".decode("utf-8-sig")
    cases = [Case(**each) for each in json.load(sys.stdin)]
    outcomes: dict[int, Outcome] = {}
    running: dict[int, tuple] = {}
    for number, case in enumerate(cases):
        while len(running) >= AT_ONCE:
            _reap(running, outcomes)
        files = TemporaryFile(), TemporaryFile()  # noqa: SIM115 - closed when the command has ended
        pid = os.fork()
        if pid == 0:
            _be(case, *files)
        running[pid] = (number, time.monotonic(), *files)
    while running:
        _reap(running, outcomes)
    json.dump([asdict(outcomes[number]) for number in range(len(cases))], sys.stdout)


def _reap(running: dict[int, tuple], outcomes: dict[int, Outcome]) -> None:
    pid, status = os.waitpid(-1, os.WNOHANG)
    if pid == 0:
        time.sleep(0.005)  # noqa: TID251 - other processes are waited for
        for late, (_, since, *_files) in running.items():
            if time.monotonic() - since > PATIENCE_S:
                os.kill(late, signal.SIGKILL)
        return
    number, _, *files = running.pop(pid)
    said = []
    for file in files:
        file.seek(0)
        said.append(file.read().decode(errors="replace"))
        file.close()
    outcomes[number] = Outcome(os.waitstatus_to_exitcode(status), *said)


def _be(case: Case, out, err) -> None:
    """Be the command, as a fresh interpreter would: with these streams, and no others."""
    code = 70
    with suppress(BaseException):
        os.environ.update(case.environment)
        for name in [name for name, value in case.environment.items() if value == ""]:
            del os.environ[name]
        _arrange(0, case.stdin, None)
        _arrange(2, case.stderr, err)
        _arrange(1, case.stdout, out)
        os.closerange(3, 1024)
        _reopen()
        if case.most_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (case.most_bytes, case.most_bytes))
        if case.user is not None:
            os.setgroups([])
            os.setgid(case.user)
            os.setuid(case.user)
        sys.argv = ["ttsw", *case.arguments]
        code = _run()
    os._exit(code)


def _arrange(number: int, kind: str, file) -> None:
    if kind == "closed":
        os.close(number)
    elif kind == "file":
        os.dup2(file.fileno(), number)
    elif kind == "null":
        os.dup2(os.open(os.devnull, os.O_RDWR), number)
    elif kind == "full":
        os.dup2(os.open("/dev/full", os.O_WRONLY), number)
    elif kind == "gone":
        reading, writing = os.pipe()
        os.dup2(writing, number)
        os.close(reading)


def _reopen() -> None:
    """Set up Python's streams as it does when it starts."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
            errors = "backslashreplace" if name == "stderr" else "strict"
            stream = open(number, "w" if number else "r", encoding="utf-8", errors=errors, closefd=False)  # noqa: SIM115
        except OSError:
            stream = None
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _run() -> int:
    import ttsw.cli  # noqa: PLC0415

    try:
        ttsw.cli.main()
    except SystemExit as end:
        code = end.code
    except (Exception, KeyboardInterrupt):
        import traceback  # noqa: PLC0415

        traceback.print_exc()
        code = 1
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        return 120  # as Python does
    return code if isinstance(code, int) else int(code is not None)


if __name__ == "__main__":
    main()
