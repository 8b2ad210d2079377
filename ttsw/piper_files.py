"""What a Piper voice's files say, read in one way by those who add, check and load it.

The configuration (`.onnx.json`) comes from several exporters and hands, so its variants are accepted; what cannot be
meant is refused. Of the graph (`.onnx`), only the number of phonemes it knows is read, without any library.
"""

import json
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, model_validator

from ttsw.errors import InvalidArgumentError

MOST_BYTES = 10_000_000
"""Largest configuration, bytes."""


def _given(value: object) -> object:
    """Take null for what isn't given."""
    return {} if value is None else value


def _phoneme_type(value: object) -> object:
    """Take an enumeration's full name, as some exporters write it, for its value."""
    return value.removeprefix("PhonemeType.").lower() if isinstance(value, str) else value


def _listed(value: object) -> object:
    if not isinstance(value, dict):
        return value
    return {name: [ids] if isinstance(ids, int) else ids for name, ids in value.items()}


class _Audio(BaseModel):
    sample_rate: int = Field(ge=8_000, le=192_000)
    quality: str = ""


class _Language(BaseModel):
    family: str = ""
    name_english: str = ""


class _Espeak(BaseModel):
    voice: str = ""


class _Inference(BaseModel):
    noise_scale: float = Field(default=0.667, ge=0, allow_inf_nan=False)
    length_scale: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    noise_w: float = Field(default=0.8, ge=0, allow_inf_nan=False)


_Id = Annotated[int, Field(ge=0)]


class VoiceConfig(BaseModel):
    """A voice's configuration."""

    audio: _Audio
    num_speakers: int | None = Field(default=None, ge=1)
    language: Annotated[_Language, BeforeValidator(_given)] = _Language()
    espeak: Annotated[_Espeak, BeforeValidator(_given)] = _Espeak()
    inference: Annotated[_Inference, BeforeValidator(_given)] = _Inference()
    phoneme_type: Annotated[str, BeforeValidator(_phoneme_type)] = "espeak"
    phoneme_id_map: Annotated[dict[str, list[_Id]], BeforeValidator(_listed)]
    speaker_id_map: Annotated[dict[str, _Id], BeforeValidator(_given)] = Field(default_factory=dict)
    default_speaker_id: _Id = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.num_speakers is None:
            self.num_speakers = max(self.speaker_id_map.values(), default=0) + 1
        beyond = [name for name, number in self.speaker_id_map.items() if number >= self.num_speakers]
        if beyond:
            raise ValueError(f"speaker_id_map: {beyond[0]!r} is none of the {self.num_speakers} speakers")
        if self.default_speaker_id >= self.num_speakers:
            raise ValueError(f"default_speaker_id: there are {self.num_speakers} speakers, counted from 0")
        missing = [mark for mark in "_^$" if mark not in self.phoneme_id_map]
        if missing:
            raise ValueError(f"phoneme_id_map: it lacks {', '.join(map(repr, missing))}, which every text needs")
        return self

    @property
    def speakers(self) -> int:
        """How many speakers there are."""
        return self.num_speakers or 1

    def to_piper(self, told: dict[str, Any]) -> dict[str, Any]:
        """Give all that a configuration told as piper-tts reads it: nothing missing, each value of its type."""
        known = self.model_dump(exclude={"language"})
        phonemes = {name: ids for name, ids in self.phoneme_id_map.items() if ids}
        return {**told, **known, "num_symbols": told.get("num_symbols") or len(phonemes), "phoneme_id_map": phonemes}


def read_config(path: Path) -> tuple[VoiceConfig, dict[str, Any]]:
    """Read a voice's configuration: what we know of it, and all of it.

    Raises:
        InvalidArgumentError: It can't be read, or isn't that of a Piper voice; the text says what is wrong where.
    """
    try:
        with path.open("rb") as file:
            told = json.loads(file.read(MOST_BYTES).decode("utf-8-sig"))
        return VoiceConfig.model_validate(told), told
    except OSError as error:
        raise InvalidArgumentError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        faults = "; ".join(_fault(dict(each)) for each in error.errors()[:5])
        raise InvalidArgumentError(f"{path} is not the configuration of a Piper voice: {faults}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError(
            f"{path} is not the configuration of a Piper voice: the file: not JSON: {error}"
        ) from error


def _fault(error: dict[str, Any]) -> str:
    place = ".".join(str(part)[:40] for part in error["loc"])
    said = str(error["msg"]).removeprefix("Value error, ")
    return f"{place or 'the file'}: {said}"


def check_phonemes(config: VoiceConfig, model: Path) -> None:
    """Return if the graph knows every phoneme of the configuration, or doesn't tell how many it knows.

    Raises:
        InvalidArgumentError: Some are beyond its table; a text with one of them could not be spoken.
        OSError: The file can't be read.
    """
    rows = embedding_rows(model)
    beyond = sorted(
        name for name, ids in config.phoneme_id_map.items() if rows is not None and max(ids, default=0) >= rows
    )
    if beyond:
        raise InvalidArgumentError(
            f"{model} knows {rows} phonemes, and its configuration has others: {', '.join(map(repr, beyond[:5]))}"
            f"{' …' if len(beyond) > 5 else ''} have numbers of {rows} or more; the two files are of different voices"
        )


# The numbers are onnx.proto's, and frozen.
_GRAPH = 7  # of ModelProto
_NODE, _INITIALIZER = 1, 5  # of GraphProto
_INPUT, _OP_TYPE = 1, 4  # of NodeProto
_DIMS, _NAME = 1, 8  # of TensorProto
_TEXT = "input"
"""What Piper's exports call the phonemes' numbers."""


class _Piece(NamedTuple):
    number: int
    kind: int
    start: int
    end: int
    value: int


def embedding_rows(model: Path) -> int | None:
    """Count the phonemes that a graph knows: the rows of the table that its input is looked up in. None if unknown.

    Raises:
        OSError: The file can't be read.
    """
    try:
        with model.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
            return _rows(data)
    except (ValueError, IndexError, UnicodeDecodeError):  # no graph at all: whoever opens it says so
        return None


def _rows(data: mmap.mmap) -> int | None:
    tables: dict[str, int] = {}
    looked_up: set[str] = set()
    for graph in (piece for piece in _pieces(data, 0, len(data)) if piece.number == _GRAPH):
        for part in _pieces(data, graph.start, graph.end):
            fields = [*_pieces(data, part.start, part.end)] if part.number in {_NODE, _INITIALIZER} else []
            if part.number == _NODE:
                inputs = [data[each.start : each.end].decode() for each in fields if each.number == _INPUT]
                kinds = [data[each.start : each.end] for each in fields if each.number == _OP_TYPE]
                if kinds == [b"Gather"] and len(inputs) == 2 and inputs[1] == _TEXT:
                    looked_up.add(inputs[0])
            elif part.number == _INITIALIZER:
                names = [data[each.start : each.end].decode() for each in fields if each.number == _NAME]
                dims = [number for each in fields if each.number == _DIMS for number in _numbers(data, each)]
                if names and dims:
                    tables[names[0]] = dims[0]
    rows = [tables[name] for name in looked_up if name in tables]
    return min(rows) if rows else None


def _numbers(data: mmap.mmap, piece: _Piece) -> Iterator[int]:
    if piece.kind == 0:
        yield piece.value
        return
    at = piece.start
    while at < piece.end:
        value, at = _varint(data, at)
        yield value


def _pieces(data: mmap.mmap, at: int, end: int) -> Iterator[_Piece]:
    while at < end:
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        value, start = 0, at
        if kind == 0:
            value, at = _varint(data, at)
        elif kind == 2:
            size, start = _varint(data, at)
            at = start + size
        elif kind in {1, 5}:
            at += 8 if kind == 1 else 4
        else:
            raise ValueError("no protobuf message")
        if at > end:
            raise ValueError("cut short")
        yield _Piece(number, kind, start, at, value)


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number without an end")
