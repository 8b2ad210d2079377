"""Reading a JSON file of a voice pack: of any of JSON's encodings, bounded, and with the system's faults told apart."""

import json
from pathlib import Path

from ttsw.system.machine import cannot_read

MOST_BYTES = 10_000_000
"""Largest file, bytes; vocabularies and indexes of weights have some hundred thousand."""


def read_json(path: Path) -> object:
    """Read a file.

    Raises:
        ValueError: It is no JSON, or too large; the text says which.
        UnavailableError: The system doesn't let us read it.
        OutOfMemoryError: There is no memory to read it.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise cannot_read(path, error) from error
    if len(data) > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES:,} bytes")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON: {error}") from error
