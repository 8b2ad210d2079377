"""The schema of metadata.yaml: its keys and their valid values.

`ttsw.packs.reader` checks whether the files that it names exist.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from ttsw.config.schema import Language, OptionText

_PACKAGE = "package://"
_PART = r"(?!\.{1,2}(/|$))[^/\\\x00-\x1f\x7f]{1,200}"


def _require(pattern: str, wanted: str) -> AfterValidator:
    def check(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise PydanticCustomError("wanted", "must be {wanted}", {"wanted": wanted})
        return text

    return AfterValidator(check)


def _https(url: str) -> str:
    try:
        parts = urlsplit(url)
        right = parts.scheme == "https" and parts.hostname and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        right = False
    if not right or not url.isprintable() or re.search(r"[\s#]", url):
        raise PydanticCustomError("wanted", "must be an address that begins with https://, without name and password")
    return url


FamilyName = Annotated[
    str, Field(max_length=100), _require(r"[a-z0-9]+(-[a-z0-9]+)*", 'a-z and 0-9, joined by "-", such as xtts-v2')
]
ModelName = Annotated[
    str,
    Field(max_length=100),
    _require(r"[a-z0-9]+([-_.][a-z0-9]+)*", 'a-z and 0-9, joined by "-", "_" or ".", such as en-us-joe-medium'),
]
ModelId = Annotated[
    str,
    Field(max_length=201),
    _require(r"[a-z0-9]+([-_.][a-z0-9]+)+", "the full id of a model, such as sesame-csm-1b"),
]
Role = Annotated[str, _require(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", "a file's name without a folder: model.onnx")]
PathInPack = Annotated[
    str,
    _require(f"{_PART}(/{_PART}){{0,9}}", "a file in the pack (model.onnx, ref/seed.wav); an address is {url: …}"),
]
PathInPackage = Annotated[
    str, _require(rf"[A-Za-z_]\w{{0,99}}(/{_PART}){{1,10}}", "a file in a Python package: package/folder/file")
]
Sha256 = Annotated[str, _require("[0-9a-fA-F]{64}", "64 hexadecimal digits"), AfterValidator(str.lower)]
Line = Annotated[str, _require(r"[^\x00-\x1f\x7f-\x9f]*", "a text in one line, without control characters")]
Prose = Annotated[str, _require(r"[^\x00-\x08\x0b-\x1f\x7f-\x9f]*", "a text without control characters")]
Url = Annotated[str, Field(max_length=2_000), AfterValidator(_https)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class CapabilitiesSection(_Section):
    """The model's capabilities."""

    streaming: bool = True
    zero_shot: bool = False
    lora: bool = False
    cpu_ok: bool = False
    emotive_zero_prompt: bool = False


class AudioSection(_Section):
    """The model's audio."""

    sample_rate: int = Field(ge=8_000, le=192_000)
    channels: int = Field(default=1, ge=1, le=2)


class SizeSection(_Section):
    """The model's size."""

    vram_mb: float = Field(default=0, ge=0, allow_inf_nan=False)
    disk_mb: float = Field(default=0, ge=0, allow_inf_nan=False)


class Origin(_Section):
    """The location of a file: in the pack, in an installed Python package, or at an address.

    The first two have a short form: `model.onnx`, `package://package/folder/model.onnx`.
    """

    path: PathInPack | None = None
    package: PathInPackage | None = None
    url: Url | None = None
    sha256: Sha256 | None = None
    bytes: int | None = Field(default=None, ge=1, le=10**13)

    @model_validator(mode="before")
    @classmethod
    def _text(cls, given: object) -> object:
        if not isinstance(given, str):
            return given
        is_package = given.startswith(_PACKAGE)
        return {"package": given.removeprefix(_PACKAGE)} if is_package else {"path": given}

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(place is not None for place in (self.path, self.package, self.url)) != 1:
            raise PydanticCustomError("wanted", "must have one of path, package, url")
        if self.url is not None and (self.sha256 is None or self.bytes is None):
            raise PydanticCustomError("wanted", "must have sha256 and bytes beside url: {url: …, sha256: …, bytes: …}")
        return self


class Metadata(_Section):
    """The whole file."""

    family: FamilyName
    model_id: ModelName
    version: Line = "1.0"
    capabilities: CapabilitiesSection = CapabilitiesSection()
    languages: Annotated[tuple[Language, ...], Field(strict=False)] = ()
    audio: AudioSection
    size: SizeSection = SizeSection()
    tags: Annotated[tuple[Line, ...], Field(strict=False)] = ()
    license: Line = ""
    source: Prose = ""
    files: Mapping[Role, Origin] = Field(default_factory=dict)
    options: Mapping[Role, OptionText] = Field(default_factory=dict)
    base: ModelId | None = None
