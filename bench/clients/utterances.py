"""Many short utterances, one after another on each of some sessions: `python -m bench.clients.utterances PORT STREAMS`.

A line is a number of utterances; they are spoken (`pacing=fast`) to their end.
"""

import sys

from bench.clients.sessions import SYNTHESIZE, rounds, start_session, tell, text_chunk
from bench.wire import Client


def main() -> None:
    """Open the sessions; then rounds."""
    port, streams = map(int, sys.argv[1:])
    client = Client(("127.0.0.1", port))
    connection = client.connect()[0]
    names = [f"load-{i:03}" for i in range(streams)]
    for name in names:
        start_session(client, connection, name, {"pacing": "fast"})
    for line in rounds():
        left, frames = int(line), 0
        while left:
            calls = []
            for name in names[:left]:
                call = connection.begin(SYNTHESIZE)
                connection.send(call, text_chunk(name, "Yes."))
                calls.append(call)
            connection.flush()
            client.wait(*calls)
            left -= len(calls)
            frames += sum(call.messages for call in calls)
        tell({"frames": frames})


if __name__ == "__main__":
    main()
