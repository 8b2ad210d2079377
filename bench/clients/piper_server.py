"""The same texts through the server: `python -m bench.clients.piper_server PORT STREAMS`.

A round is a JSON object: STREAMS sessions (`pacing=fast`) share its `texts`, the next free one takes the next; with
`first_only`, each is stopped at its first frame.
"""

import json
import sys
from collections import deque
from time import monotonic, time_ns

from bench.clients.sessions import SERVICE, SYNTHESIZE, is_empty, rounds, start_session, tell, text_chunk
from bench.wire import Call, Client, Connection
from ttsw.fronts.abi.generated.tts import ControlCommand, ControlRequest


class Session:
    """One session, and what its present text has brought."""

    def __init__(self, client: Client, connection: Connection, name: str) -> None:
        self._connection, self.name = connection, name
        self.first_only = False
        self.call: Call | None = None
        self._began_ns = self._first_ns = self._frames = 0
        start_session(client, connection, name, {"pacing": "fast"})

    def speak(self, text: str) -> None:
        """Begin a text."""
        self._frames = self._first_ns = 0
        self.call = self._connection.begin(SYNTHESIZE, on_message=self._hear)
        self._connection.send(self.call, text_chunk(self.name, text))
        self._began_ns = time_ns()
        self._connection.flush()

    def _hear(self, _call: Call, frame: bytes, now: int) -> None:
        if is_empty(frame):
            return
        self._frames += 1
        if not self._first_ns:
            self._first_ns = now
            if self.first_only:
                stop = bytes(ControlRequest(session_id=self.name, command=ControlCommand.STOP))
                self._connection.send(self._connection.begin(SERVICE + "Control"), stop)

    def spoken(self) -> dict[str, float]:
        """Tell what came."""
        if self.call is None or self.call.status != "0" or not self._frames:
            raise RuntimeError(f"no speech came: status {self.call and self.call.status!r}")
        return {"first_s": (self._first_ns - self._began_ns) / 1e9, "audio_s": self._frames * 0.02}


def main() -> None:
    """Open the sessions; then rounds."""
    port, streams = map(int, sys.argv[1:])
    client = Client(("127.0.0.1", port))
    connection = client.connect()[0]
    sessions = [Session(client, connection, f"load-{i}") for i in range(streams)]
    for line in rounds():
        order = json.loads(line)
        texts: deque[str] = deque(order["texts"])
        began = monotonic()
        spoken = []
        speaking: list[Session] = []
        free = list(sessions)
        while texts or speaking:
            while texts and free:
                session = free.pop()
                session.first_only = order["first_only"]
                session.speak(texts.popleft())
                speaking.append(session)
            client.poll(1.0)
            for session in [one for one in speaking if one.call is not None and one.call.ended_ns]:
                spoken.append(session.spoken())
                speaking.remove(session)
                free.append(session)
        tell({"wall_s": monotonic() - began, "texts": spoken})


if __name__ == "__main__":
    main()
