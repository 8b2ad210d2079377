"""A server on folders of its own, whose log is kept: for what it remembers of models, and tells of them only there."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

from bench.process import Child, running

SESSIONS = 2_000


@dataclass(frozen=True, slots=True)
class LoggedServer:
    """`ttsw serve`, and its log."""

    child: Child
    port: str
    ready_s: float
    log: Path

    def lines(self, event: str, model_id: str) -> list[dict[str, Any]]:
        """What the log says of an event with a model."""
        told = [json.loads(line) for line in self.log.read_text("utf-8").splitlines() if line.startswith("{")]
        return [line for line in told if (line["event"], line.get("model_id")) == (event, model_id)]


@contextmanager
def serve(folder: Path, model_id: str = "mock-440hz", *, core: int | None = None) -> Iterator[LoggedServer]:
    """Run `ttsw serve` as `bench.process.product` does, with its voice packs, its state and its log in `folder`."""
    log = folder / "log"
    settings = {
        "TTSW_MODEL_MANAGER__VOICEPACKS_DIR": str(folder / "voicepacks"),
        "TTSW_MODEL_MANAGER__STATE_DIR": str(folder / "state"),
        "TTSW_WORKER__CAPABILITIES__MAX_CONCURRENT_SESSIONS": str(SESSIONS),
    }
    command = [sys.executable, "-m", "ttsw", "serve", "--default-model", model_id, "--host", "127.0.0.1", "--port", "0"]
    shell = ["sh", "-c", 'exec "$@" 2>"$0"', str(log)]
    try:
        with running(Child([*shell, *command], core=core, environment=settings)) as child:
            port = child.line().rpartition(":")[2]
            yield LoggedServer(child, port, monotonic() - child.started, log)
    finally:
        if os.environ.get("BENCH_LOGS") and log.exists():
            sys.stderr.write(log.read_text("utf-8"))


@contextmanager
def serve_anew() -> Iterator[LoggedServer]:
    """Run one that remembers nothing; see `serve`."""
    with TemporaryDirectory() as folder, serve(Path(folder)) as server:
        yield server
