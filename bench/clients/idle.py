"""Sessions that are opened and left idle: `python -m bench.clients.idle PORT own|shared`.

A line is a number of sessions to open beyond those there are; `own` gives each a connection of its own.
"""

import sys

from bench.clients.sessions import rounds, start_session, tell
from bench.wire import Client


def main() -> None:
    """Open sessions as told."""
    client = Client(("127.0.0.1", int(sys.argv[1])))
    own = sys.argv[2] == "own"
    shared = None if own else client.connect()[0]
    there = 0
    for line in rounds():
        for _ in range(int(line)):
            start_session(client, shared or client.connect()[0], f"idle-{there:06}", {})
            there += 1
        tell({"sessions": there})


if __name__ == "__main__":
    main()
