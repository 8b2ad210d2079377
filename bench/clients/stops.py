"""Endless streams, stopped one by one: `python -m bench.clients.stops PORT STREAMS CONNECTIONS`.

A line is a number of trials: a Control to a stream's session while all others run as fast as they are read; timed from
sending it to the stream's end. The stream then begins anew.
"""

import random
import sys
from time import time_ns

from bench.clients.sessions import SERVICE, SYNTHESIZE, rounds, tell, text_chunk
from bench.wire import Call, Client
from ttsw.fronts.abi.generated.tts import ControlCommand, ControlRequest
from ttsw.sessions.stats import percentile

PATIENCE_S = 5.0


def main() -> None:
    """Begin the streams; then trials."""
    port, streams, connections = map(int, sys.argv[1:])
    client = Client(("127.0.0.1", port))
    links = client.connect(connections)
    dice = random.Random(20)

    def begin(number: int) -> Call:
        link = links[number % connections]
        call = link.begin(SYNTHESIZE)
        link.send(call, text_chunk(f"load-{number:03}", "on"))
        link.flush()
        return call

    def stop(number: int) -> float:
        link = links[number % connections]
        client.wait_until(lambda: calls[number].messages > 0, timeout_s=PATIENCE_S)
        reply = link.begin(SERVICE + "Control")
        link.send(reply, bytes(ControlRequest(session_id=f"load-{number:03}", command=ControlCommand.STOP)))
        sent = time_ns()
        link.flush()
        client.wait(reply, calls[number], timeout_s=PATIENCE_S)
        took_ms = (calls[number].ended_ns - sent) / 1e6
        calls[number] = begin(number)
        return took_ms

    calls = [begin(number) for number in range(streams)]
    for line in rounds():
        try:
            took = [stop(dice.randrange(streams)) for _ in range(int(line))]
        except TimeoutError as error:
            tell({"failed": str(error)})
            continue
        tell({"p50": percentile(took, 50), "p99": percentile(took, 99), "max": max(took)})


if __name__ == "__main__":
    main()
