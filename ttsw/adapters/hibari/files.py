"""The files of a hibari voice: which they are, and that the table of phonemes is the graph's."""

from pathlib import Path

from ttsw.errors import UnavailableError
from ttsw.formats.json_file import read_json
from ttsw.formats.onnx_tables import read_tables
from ttsw.system.machine import cannot_read
from ttsw.types import VoicePack

IDS = "ids"
"""What the graph calls the phonemes' numbers."""


def find_file(pack: VoicePack, role: str) -> Path:
    """Find a file of the voice.

    Raises:
        UnavailableError: The pack lacks it.
    """
    if role not in pack.files:
        raise UnavailableError(
            f"voice pack {pack.root}: a hibari voice is model.onnx and vocab.json, and {role} is not there; the pack "
            f"has {', '.join(sorted(pack.files)) or 'none'}"
        )
    return pack.files[role]


def check_readable(path: Path) -> None:
    """See that the system lets us read a file, which ONNX Runtime doesn't always tell.

    Raises:
        UnavailableError: It doesn't.
    """
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise cannot_read(path, error) from error


def read_symbols(path: Path, model: Path) -> dict[str, int]:
    """Read the numbers of the phonemes.

    Raises:
        UnavailableError: It is no such table, or has numbers beyond those that the graph knows: a text with one of them
            could not be spoken.
    """
    fault = f"{path} is not the table of a hibari voice's phonemes"
    try:
        found = read_json(path)
    except ValueError as error:
        raise UnavailableError(f"{fault}: {error}") from error
    if not isinstance(found, dict) or not all(type(number) is int and number >= 0 for number in found.values()):
        raise UnavailableError(f"{fault}: it must give whole numbers by phoneme")
    rows = _count_rows(model)
    beyond = sorted(symbol for symbol, number in found.items() if rows is not None and number >= rows)
    if beyond:
        named = ", ".join(repr(symbol[:40]) for symbol in beyond[:5]) + (" …" if len(beyond) > 5 else "")
        raise UnavailableError(
            f"{model} and {path} don't fit each other: the graph knows {rows} phonemes, and {named} have numbers of "
            f"{rows} or more"
        )
    return found


def _count_rows(model: Path) -> int | None:
    try:
        return read_tables(model).rows.get(IDS)
    except OSError as error:
        raise cannot_read(model, error) from error
    except ValueError:  # ONNX Runtime reads other formats, too
        return None
