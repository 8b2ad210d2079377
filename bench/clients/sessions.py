"""What load generators share: sessions on raw connections, the worker's messages, and rounds on command."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bench.wire import Client, Connection
from ttsw.fronts.abi.generated.tts import StartSessionRequest, StartSessionResponse, TextChunk

SERVICE = "/tts.TTSService/"
SYNTHESIZE = SERVICE + "Synthesize"


def start_session(client: Client, connection: Connection, name: str, options: Mapping[str, str]) -> None:
    """Open a session.

    Raises:
        RuntimeError: The server refused it.
    """
    request = bytes(StartSessionRequest(session_id=name, options=dict(options)))
    answer = StartSessionResponse.parse(client.unary(connection, SERVICE + "StartSession", request))
    if not answer.success:
        raise RuntimeError(answer.message)


def text_chunk(name: str, text: str) -> bytes:
    """Encode a whole text for a session."""
    return bytes(TextChunk(session_id=name, text=text, is_final=True))


def is_empty(frame: bytes) -> bool:
    """Tell an end marker from a frame that carries audio, which alone is this long."""
    return len(frame) < 1920


def tell(found: Mapping[str, Any]) -> None:
    """Write a line of JSON to the parent."""
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


def rounds() -> Iterator[str]:
    """Say that we are ready, then yield each line that the parent writes."""
    tell({"ready": True})
    for line in sys.stdin:
        yield line.strip()


def repeat(work: Callable[[], Mapping[str, Any]]) -> None:
    """Do a round of work for each line of the parent's, and tell what came of it."""
    for _ in rounds():
        tell(work())
