"""Sessions that are all opened in one moment: `python -m bench.clients.rush PORT SESSIONS MODEL`.

All StartSession calls go out in one write on one connection. A GetCapabilities after them is answered once the server
has read them all, so it tells when they were in line.
"""

import sys
from collections.abc import Mapping
from time import time_ns
from typing import Any

from bench.clients.sessions import SERVICE, repeat
from bench.wire import Client
from ttsw.fronts.abi.generated.tts import StartSessionRequest, StartSessionResponse


def main() -> None:
    """Open them when told to."""
    port, count, model_id = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    client = Client(("127.0.0.1", port))
    connection = client.connect()[0]
    client.unary(connection, SERVICE + "GetCapabilities", b"")

    def rush() -> Mapping[str, Any]:
        calls = []
        for number in range(count):
            call = connection.begin(SERVICE + "StartSession")
            connection.send(call, bytes(StartSessionRequest(session_id=f"rush-{number:04}", model_id=model_id)))
            calls.append(call)
        sent_ns = time_ns()
        client.unary(connection, SERVICE + "GetCapabilities", b"")
        in_line_ns = time_ns()
        client.wait(*calls)
        answers = [StartSessionResponse.parse(call.last) for call in calls]
        return {
            "served": sum(answer.success for answer in answers),
            "refusals": sorted({answer.message for answer in answers if not answer.success})[:3],
            "in_line_s": (in_line_ns - sent_ns) / 1e9,
            "in_line_at_s": in_line_ns / 1e9,
            "first_at_s": min(call.ended_ns for call in calls) / 1e9,
            "last_at_s": max(call.ended_ns for call in calls) / 1e9,
        }

    repeat(rush)


if __name__ == "__main__":
    main()
