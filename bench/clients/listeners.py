"""Real-time listeners, heard again and again: `python -m bench.clients.listeners PORT SESSIONS`.

A line is a number of seconds: the sessions of `bench.clients.realtime` are heard for so long, each time anew. They have
not been read since the last time, so they get a second to catch up; a line says when they are listened to from then on.
"""

import sys
from time import monotonic

from bench.clients.realtime import Crowd
from bench.clients.sessions import rounds, tell

CATCHING_UP_S = 1.0


def main() -> None:
    """Begin the texts; then listen."""
    port, sessions = map(int, sys.argv[1:])
    crowd = Crowd(port, sessions, 1)
    crowd.begin()
    for seconds in rounds():
        crowd.run_until(monotonic() + CATCHING_UP_S)
        for heard in (crowd.gaps_ns, crowd.kernel_gaps_ns, crowd.lags_ns, crowd.late):
            heard.clear()
        tell({"listening": True})
        tell(crowd.listen(float(seconds)))


if __name__ == "__main__":
    main()
