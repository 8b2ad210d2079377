"""Child processes: started on their cores, spoken with in lines, and measured from outside through /proc."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from select import select
from time import monotonic
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, CLIENT_CORE = CORES[0], CORES[-1]
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used since its start.

    Args:
        user_s: CPU time in user mode, all threads, s.
        system_s: CPU time in the kernel, s.
        queued_s: Time that its threads alive now were ready to run and had no core, s.
    """

    user_s: float
    system_s: float
    queued_s: float

    @property
    def cpu_s(self) -> float:
        """CPU time, s."""
        return self.user_s + self.system_s

    def __sub__(self, other: Self) -> "Usage":
        return Usage(self.user_s - other.user_s, self.system_s - other.system_s, self.queued_s - other.queued_s)


class Child:
    """A child process that speaks in lines on its stdout."""

    def __init__(
        self, command: Sequence[str], *, core: int | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        pin = (lambda: os.sched_setaffinity(0, {core})) if core is not None else None
        self.started = monotonic()
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("BENCH_LOGS") else subprocess.DEVNULL,
            preexec_fn=pin,  # noqa: PLW1509 - no thread of ours runs while a child is started
        )
        self.pid = self._process.pid
        self._pending = b""

    @classmethod
    def python(
        cls, module: str, *args: str, core: int | None = None, environment: Mapping[str, str] | None = None
    ) -> Self:
        """Start a module of ours."""
        return cls([sys.executable, "-m", module, *args], core=core, environment=environment)

    def line(self, timeout_s: float = 120.0) -> str:
        """Wait for the next line.

        Raises:
            RuntimeError: The process ended or said nothing in time; `BENCH_LOGS=1` shows its stderr.
        """
        assert self._process.stdout is not None
        deadline = monotonic() + timeout_s
        while b"\n" not in self._pending:
            ready, _, _ = select([self._process.stdout], [], [], max(0.0, deadline - monotonic()))
            data = os.read(self._process.stdout.fileno(), 1 << 20) if ready else b""
            if not data:
                raise RuntimeError(f"{self._process.args!r} said nothing (BENCH_LOGS=1 shows its stderr)")
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode()

    def result(self, timeout_s: float = 120.0) -> dict[str, Any]:
        """Wait for a line of JSON."""
        found: dict[str, Any] = json.loads(self.line(timeout_s))
        return found

    def tell(self, line: str) -> None:
        """Write a line to its stdin."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def usage(self) -> Usage:
        """Read what it has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text("ascii").rpartition(")")[2].split()
        queued_ns = 0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            try:
                queued_ns += int((task / "schedstat").read_text("ascii").split()[1])
            except OSError:  # the thread has just ended
                continue
        return Usage(int(fields[11]) / _TICKS, int(fields[12]) / _TICKS, queued_ns / 1e9)

    def rss_bytes(self) -> int:
        """Read how much of its memory is in RAM."""
        return int(Path(f"/proc/{self.pid}/statm").read_text("ascii").split()[1]) * _PAGE_BYTES

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


@contextmanager
def running(child: Child) -> Iterator[Child]:
    """End the process with the block."""
    try:
        yield child
    finally:
        child.stop()


@dataclass(frozen=True, slots=True)
class Server:
    """A server under test."""

    child: Child
    port: int
    ready_s: float


@contextmanager
def product(
    adapter: str = "mock", *, sessions: int = 128, core: int | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Run `ttsw serve` as a user would."""
    environment = {"TTSW_WORKER__CAPABILITIES__MAX_CONCURRENT_SESSIONS": str(sessions), **(settings or {})}
    command = [sys.executable, "-m", "ttsw", "serve", "--adapter", adapter, "--host", "127.0.0.1", "--port", "0"]
    with running(Child(command, core=core, environment=environment)) as child:
        yield _ready(child)


@contextmanager
def reference(name: str, *args: str, core: int | None = None) -> Iterator[Server]:
    """Run a server of `bench.references`."""
    with running(Child.python(f"bench.references.{name}", *args, core=core)) as child:
        yield _ready(child)


def _ready(child: Child) -> Server:
    word, _, address = child.line().partition(" ")
    assert word == "ready", word
    return Server(child, int(address.rpartition(":")[2]), monotonic() - child.started)
