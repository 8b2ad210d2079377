"""What a Piper voice's files say, read in one way by those who add, check and load it.

The configuration (`.onnx.json`) comes from several exporters and hands, so its variants are accepted; what cannot be
meant is refused. The graph (`.onnx`) must be the configuration's: it takes what that says, and knows its phonemes and
speakers.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from ttsw.errors import InvalidArgumentError
from ttsw.formats.json_file import read_json
from ttsw.formats.onnx_tables import Graph, read_tables
from ttsw.system.machine import cannot_read

TEXT, LENGTH, SCALES, SPEAKER = "input", "input_lengths", "scales", "sid"
"""What Piper's exports call the graph's inputs."""


def _phoneme_type(value: object) -> object:
    """Take an enumeration's full name, as some exporters write it, for its value."""
    return value.removeprefix("PhonemeType.").lower() if isinstance(value, str) else value


def _whole(value: object) -> object:
    """Take a text for the whole number that it writes."""
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,18}(\.0*)?\s*", value):
        return int(value.partition(".")[0])
    if isinstance(value, bool | str):
        raise PydanticCustomError("wanted", "Input should be a whole number")
    return value


def _listed(value: object) -> object:
    return value if isinstance(value, list) else [] if value is None else [value]


_Number = Annotated[int, BeforeValidator(_whole)]
_Id = Annotated[_Number, Field(ge=0, lt=2**31)]
_Ids = Annotated[list[_Id], BeforeValidator(_listed)]


class _Section(BaseModel):
    """A part of a configuration: null is as good as nothing."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _given(cls, told: object) -> object:
        return {name: value for name, value in told.items() if value is not None} if isinstance(told, dict) else told


class _Audio(_Section):
    sample_rate: Annotated[_Number, Field(ge=8_000, le=192_000)]
    quality: str = ""


class _Language(_Section):
    family: str = ""
    name_english: str = ""


class _Espeak(_Section):
    voice: str = ""


class _Inference(_Section):
    """How the voice speaks; the bounds are far beyond what any voice needs, and keep a step's memory within reason."""

    noise_scale: float = Field(default=0.667, ge=0, le=10)
    length_scale: float = Field(default=1.0, ge=0.05, le=10)
    noise_w: float = Field(default=0.8, ge=0, le=2)


class VoiceConfig(_Section):
    """A voice's configuration."""

    audio: _Audio
    num_speakers: Annotated[_Number, Field(ge=0, le=1_000_000)] = 0
    language: _Language = _Language()
    espeak: _Espeak = _Espeak()
    inference: _Inference = _Inference()
    phoneme_type: Annotated[
        Literal["espeak", "text", "pinyin", "hebrew", "japanese", "thai"], BeforeValidator(_phoneme_type)
    ] = "espeak"
    phoneme_id_map: dict[str, _Ids]
    speaker_id_map: dict[str, _Id] = Field(default_factory=dict)
    default_speaker_id: _Id = 0
    vowel_clusters: list[list[str]] = Field(default_factory=list)

    @model_validator(mode="after")
    def _check(self) -> Self:
        beyond = [name for name, number in self.speaker_id_map.items() if number >= self.speakers]
        if beyond:
            raise _refusal(f"speaker_id_map: {beyond[0][:40]!r} is none of the {self.speakers} speakers")
        if self.default_speaker_id >= self.speakers:
            raise _refusal(f"default_speaker_id: there are {self.speakers} speakers, counted from 0")
        missing = [mark for mark in "_^$" if not self.phoneme_id_map.get(mark)]
        if missing:
            raise _refusal(f"phoneme_id_map: it lacks {', '.join(map(repr, missing))}, which every text needs")
        if self.phoneme_type == "espeak" and not self.espeak.voice:
            raise _refusal("espeak.voice: it is missing, and phoneme_type says that espeak makes the phonemes")
        return self

    @property
    def speakers(self) -> int:
        """How many speakers there are; where it isn't said, as many as are named."""
        return self.num_speakers or max(self.speaker_id_map.values(), default=0) + 1

    @property
    def inputs(self) -> set[str]:
        """Names of what the graph takes."""
        return {TEXT, LENGTH, SCALES} | ({SPEAKER} if self.speakers > 1 else set())

    def to_piper(self) -> dict[str, Any]:
        """Give the configuration as piper-tts reads it: nothing missing, each value of its type."""
        phonemes = {name: ids for name, ids in self.phoneme_id_map.items() if ids}
        known = self.model_dump(exclude={"language"})
        return known | {"num_speakers": self.speakers, "num_symbols": len(phonemes), "phoneme_id_map": phonemes}


def read_voice(config: Path, model: Path) -> VoiceConfig:
    """Read a voice's configuration, and see that the graph is the configuration's.

    Raises:
        InvalidArgumentError: They are no Piper voice's, or not of the same; the text says what is wrong where.
        UnavailableError: The system doesn't let us read them.
        OutOfMemoryError: There is no memory to read them.
    """
    found = read_config(config)
    try:
        graph = read_tables(model)
    except OSError as error:
        raise cannot_read(model, error) from error
    except ValueError as error:
        raise InvalidArgumentError(f"{model} is not the graph of a Piper voice, or it is damaged: {error}") from error
    if fault := find_misfit(found, graph):
        raise InvalidArgumentError(f"{model} and {config} are not of the same voice: {fault}")
    return found


def read_config(path: Path) -> VoiceConfig:
    """Read a voice's configuration by itself; see `read_voice`."""
    wrong = f"{path} is not the configuration of a Piper voice"
    try:
        return VoiceConfig.model_validate(read_json(path))
    except ValidationError as error:
        faults = "; ".join(_fault(dict(each)) for each in error.errors(include_url=False)[:5])
        raise InvalidArgumentError(f"{wrong}: {faults}") from None
    except ValueError as error:
        raise InvalidArgumentError(f"{wrong}: the file: {error}") from error


def find_misfit(config: VoiceConfig, graph: Graph) -> str:
    """Say why a graph isn't the configuration's; empty where it is, as far as the graph tells."""
    if graph.inputs != config.inputs:
        return f"it should take {', '.join(sorted(config.inputs))}, but it takes {', '.join(sorted(graph.inputs))}"
    rows, speakers = graph.rows.get(TEXT), graph.rows.get(SPEAKER)
    beyond = [name for name, ids in config.phoneme_id_map.items() if rows is not None and max(ids, default=0) >= rows]
    if beyond:
        named = ", ".join(repr(name[:40]) for name in sorted(beyond)[:5]) + (" …" if len(beyond) > 5 else "")
        return f"it knows {rows} phonemes, and {named} have numbers of {rows} or more"
    if speakers is not None and config.speakers > speakers:
        return f"it knows {speakers} speakers, and the configuration has {config.speakers}"
    return ""


def _refusal(text: str) -> PydanticCustomError:
    return PydanticCustomError("wanted", "{text}", {"text": text})


def _fault(error: dict[str, Any]) -> str:
    place = ".".join(str(part)[:40] for part in error["loc"])
    said = " ".join(str(error["msg"]).split())
    return f"{place}: {said}" if place else said if error["type"] == "wanted" else f"the file: {said}"
