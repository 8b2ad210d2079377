"""Capabilities of models, and of several models combined."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from ttsw.types import Capabilities, VoicePack


@dataclass(frozen=True, slots=True)
class ModelCapabilities:
    """Capabilities of one model, or of several combined.

    Args:
        capabilities: The capabilities.
        languages: The languages, BCP 47.
    """

    capabilities: Capabilities
    languages: tuple[str, ...] = ()

    @classmethod
    def of(cls, pack: VoicePack, info: Mapping[str, Any] | None = None) -> Self:
        """Return a model's capabilities: those it reports if it is loaded, otherwise those of its pack."""
        if info is None:
            return cls(pack.capabilities, pack.languages)
        said = {name: bool(info.get(name, getattr(pack.capabilities, name))) for name in _NAMES}
        return cls(Capabilities(**said), tuple(info.get("languages", pack.languages)))


_NAMES = [each.name for each in fields(Capabilities)]


def combine(models: Iterable[ModelCapabilities]) -> ModelCapabilities:
    """Combine the capabilities and the languages of several models.

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
