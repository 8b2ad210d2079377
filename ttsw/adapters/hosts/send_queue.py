"""Send queue of a socket: sends at once if there is room, otherwise later and in order."""

import socket
from collections import deque
from contextlib import suppress
from threading import Lock

import trio


class SendQueue:
    """Sends messages for tasks and threads, which never wait; a message is never cut short by a cancellation.

    Args:
        sock: A non-blocking socket.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = Lock()
        self._waiting: deque[bytes] = deque()  # bounded by its callers
        self._more = trio.Event()
        self._token = trio.lowlevel.current_trio_token()

    def __repr__(self) -> str:
        return f"<Outbox, {len(self._waiting)} messages waiting>"

    def put(self, data: bytes) -> None:
        """Send a message. If the other end is gone, it is dropped; the reading side notices that."""
        with self._lock:
            if not self._waiting:
                try:
                    data = data[self._sock.send(data) :]
                except BlockingIOError:
                    pass
                except OSError:
                    return
            if not data:
                return
            self._waiting.append(data)
        self._token.run_sync_soon(self._wake)

    def _wake(self) -> None:
        self._more.set()

    async def run(self) -> None:
        """Send queued messages until cancelled."""
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(self._sock))
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while True:
                await self._more.wait()
                self._more = trio.Event()
                while self._waiting:
                    await stream.send_all(self._waiting[0])
                    with self._lock:
                        self._waiting.popleft()
