"""Streams that are read as fast as they come: `python -m bench.clients.fast PORT STREAMS CONNECTIONS CHARACTERS`.

The raw client of `bench.wire`: per frame it costs a few microseconds, so the server is what limits. A round is one
utterance on each stream, from the first request to the last status.
"""

import sys
from collections.abc import Mapping
from time import monotonic
from typing import Any

from bench.clients.sessions import SYNTHESIZE, repeat, start_session, text_chunk
from bench.samples import text_of
from bench.wire import Client


def main() -> None:
    """Open the sessions; then rounds."""
    port, streams, connections, characters = map(int, sys.argv[1:])
    client = Client(("127.0.0.1", port))
    links = client.connect(connections)
    names = [f"load-{i:03}" for i in range(streams)]
    for i, name in enumerate(names):
        start_session(client, links[i % connections], name, {"pacing": "fast"})
    text = text_of(characters)

    def work() -> Mapping[str, Any]:
        began = monotonic()
        calls = []
        for i, name in enumerate(names):
            call = links[i % connections].begin(SYNTHESIZE)
            links[i % connections].send(call, text_chunk(name, text))
            calls.append(call)
        for link in links:
            link.flush()
        client.wait(*calls)
        return {"frames": sum(call.messages for call in calls), "wall_s": monotonic() - began}

    repeat(work)


if __name__ == "__main__":
    main()
