"""What is to be sent on a socket: at once if there is room, else in order as there is."""

import math
import socket
from contextlib import suppress

import trio


class Outbox:
    """Sends from a task or none: who puts a message never waits, and there is no way to cancel it in the middle.

    Args:
        sock: A socket that is never blocked on.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._put, self._get = trio.open_memory_channel[bytes](math.inf)  # those who put bound it
        self._behind = 0

    def __repr__(self) -> str:
        return f"<Outbox, {self._behind} messages waiting>"

    def put(self, data: bytes) -> None:
        """Send a message. Where the other end is gone, it is lost, as whoever reads from there finds out."""
        if not self._behind:
            try:
                data = data[self._sock.send(data) :]
            except BlockingIOError:
                pass
            except OSError:
                return
        if data:
            self._behind += 1
            self._put.send_nowait(data)

    async def run(self) -> None:
        """Send what didn't go at once, until cancelled."""
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(self._sock))
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for data in self._get:
                await stream.send_all(data)
                self._behind -= 1
