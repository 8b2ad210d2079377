"""The server under measurement: the product's own, `ttsw serve` in a child process, asked over gRPC.

It has a folder of state of its own, limits that are out of the measurement's way, and what a user's configuration says
in all else.
"""

import os
import sys
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from ttsw.config import Config
from ttsw.config.dump import to_yaml
from ttsw.errors import TtswError, UnavailableError
from ttsw.fronts.abi.client import TTSClient, open_client
from ttsw.fronts.abi.generated.tts import ModelInfo
from ttsw.profiler.child_process import ChildProcess, open_child
from ttsw.profiler.server_config import IDLE_MODEL, child_environ, measuring_config
from ttsw.profiler.subject import ServerSnapshot

START_S = 120.0
"""How long the server may take to start, s."""


class BenchServer:
    """A running server.

    Args:
        child: Its process.
        client: A client of it.
        address: Host and port where it listens.
    """

    def __init__(self, child: ChildProcess, client: TTSClient, address: tuple[str, int]) -> None:
        self._child, self.client = child, client
        self.host, self.port = address

    def __repr__(self) -> str:
        return f"<BenchServer {self.host}:{self.port}, {self._child!r}>"

    @property
    def pid(self) -> int:
        """Its process."""
        return self._child.process.pid

    async def models(self) -> Mapping[str, ServerSnapshot]:
        """See `ttsw.profiler.subject.Subject`."""
        async with self._alive():
            return {info.model_id: seen(info) for info in await self.client.list_models()}

    async def load(self, model_id: str) -> float:
        """See `ttsw.profiler.subject.Subject`."""
        began = trio.current_time()
        async with self._alive():
            await self.client.load_model(model_id)
        return trio.current_time() - began

    async def unload(self, model_id: str) -> float:
        """See `ttsw.profiler.subject.Subject`."""
        began = trio.current_time()
        async with self._alive():
            await self.client.unload_model(model_id, force=True)
        return trio.current_time() - began

    async def figures(self) -> Mapping[str, float]:
        """The server's own figures."""
        async with self._alive():
            return (await self.client.capabilities()).metrics

    @asynccontextmanager
    async def _alive(self) -> AsyncGenerator[None, None]:
        """Say how the process has ended, rather than that a connection was lost."""
        fault: UnavailableError | None = None
        try:
            yield
        except UnavailableError as error:
            fault = error
        if fault is not None:
            with trio.move_on_after(0.5):
                await self._child.process.wait()
            raise fault if self._child.process.returncode is None else await self._child.ended()


def seen(info: ModelInfo) -> ServerSnapshot:
    """What a server tells of a model."""
    told = info.metadata
    return ServerSnapshot(
        family=info.family,
        version=told.get("version", ""),
        base=told.get("base", ""),
        device=told.get("device", "") if info.is_loaded else "",
        size_mb=_number(told.get("size_mb")),
        allocated_mb=_number(told.get("gpu_allocated_mb")),
        error=told.get("last_error", ""),
        digest=told.get("digest"),
        lufs=_number(told.get("voice_lufs")),
    )


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


@asynccontextmanager
async def open_server(
    config: Config, *, gpus: tuple[int, ...], model_ids: Iterable[str] = (), simulate: Path | None = None, default: str
) -> AsyncGenerator[BenchServer, None]:
    """Run a server for a block.

    Args:
        config: The user's configuration.
        gpus: The GPUs that models may be on.
        model_ids: Models that are to be given any number of sessions.
        simulate: The profile whose device the server is to simulate.
        default: The model that it starts with.

    Raises:
        UnavailableError: It doesn't start; the text says what it said.
    """
    with TemporaryDirectory(prefix="ttsw-bench-") as folder:
        state = Path(folder) / "state"
        simulated = None if simulate is None else default
        own = measuring_config(config, state, gpus=gpus, model_ids=model_ids, simulated=simulated)
        file = Path(folder) / "worker.yaml"
        file.write_text(to_yaml(own), encoding="utf-8")
        command = [sys.executable, "-m", "ttsw", "serve", "--config", str(file)]
        if simulate is not None:
            command += ["--simulate", str(simulate)]
        async with open_child(command, "the server", environ=child_environ(os.environ)) as child:
            host, port = await _ready(child)
            async with open_client(host, port) as client:
                server = BenchServer(child, client, (host, port))
                yield server


async def _ready(child: ChildProcess) -> tuple[str, int]:
    with trio.move_on_after(START_S):
        word, _, address = (await child.line()).decode().partition(" ")
        host, _, port = address.removeprefix("grpc://").rpartition(":")
        if word != "ready" or not (port.isascii() and port.isdigit()):
            raise UnavailableError(f"the server said {word!r} {address!r} rather than where it listens")
        return host, int(port)
    raise UnavailableError(f"the server hasn't started within {START_S:g} s: {'; '.join(list(child.log)[-3:])}")


async def settle(server: BenchServer, measured: Iterable[str]) -> None:
    """Unload whatever the server has in memory; the idle model may stay, where it isn't measured itself."""
    may_stay = {IDLE_MODEL} - {*measured}
    for model_id, model in (await server.models()).items():
        if model.device and model_id not in may_stay:
            with suppress(TtswError):
                await server.unload(model_id)
