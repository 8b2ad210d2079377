"""Clients that begin to speak and stop reading: `python -m bench.clients.stalled PORT CLIENTS`."""

import sys

from bench.clients.sessions import SYNTHESIZE, rounds, start_session, text_chunk
from bench.wire import Client


def main() -> None:
    """Begin, and read nothing until the end."""
    port, count = map(int, sys.argv[1:])
    client = Client(("127.0.0.1", port))
    options = {"pacing": "fast", "ms_per_char": "1000", "chunk_ms": "200"}
    for number, connection in enumerate(client.connect(count)):
        name = f"stalled-{number:03}"
        start_session(client, connection, name, options)
        connection.send(connection.begin(SYNTHESIZE), text_chunk(name, "x" * 200))
        connection.flush()
    for _ in rounds():
        pass


if __name__ == "__main__":
    main()
