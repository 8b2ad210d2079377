"""What models can do, and what all of them together can."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from ttsw.types import Capabilities, VoicePack


@dataclass(frozen=True, slots=True)
class ModelCapabilities:
    """What a model can do, or several by the sum of theirs.

    Args:
        capabilities: What.
        languages: In which languages.
    """

    capabilities: Capabilities
    languages: tuple[str, ...] = ()

    @classmethod
    def of(cls, pack: VoicePack, info: Mapping[str, Any] | None = None) -> Self:
        """Those of a model: what it says of itself where it is loaded, otherwise what its pack says."""
        if info is None:
            return cls(pack.capabilities, pack.languages)
        said = {name: bool(info.get(name, getattr(pack.capabilities, name))) for name in _NAMES}
        return cls(Capabilities(**said), tuple(info.get("languages", pack.languages)))


_NAMES = [each.name for each in fields(Capabilities)]


def combine(models: Iterable[ModelCapabilities]) -> ModelCapabilities:
    """Those of several models together: each capability that one of them has, each language that one of them speaks.

    >>> one = ModelCapabilities(Capabilities(lora=True), ("en",))
    >>> other = ModelCapabilities(Capabilities(zero_shot=True), ("zh", "en"))
    >>> combine([one, other])
    ... # doctest: +NORMALIZE_WHITESPACE
    ModelCapabilities(capabilities=Capabilities(streaming=True, zero_shot=True, lora=True, cpu_ok=True,
    emotive_zero_prompt=False), languages=('en', 'zh'))
    """
    all_of_them = [*models]
    said = {name: any(getattr(each.capabilities, name) for each in all_of_them) for name in _NAMES}
    return ModelCapabilities(
        Capabilities(**said), tuple(sorted({name for each in all_of_them for name in each.languages}))
    )
