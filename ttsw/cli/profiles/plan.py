"""What would fit on a GPU.

Sizes are those that were measured on this machine, or that voice packs state; the rest is by the formula of estimated
profiles.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ttsw.cli.voices.pack_list import PackList, open_packs
from ttsw.config import Config
from ttsw.errors import InvalidArgumentError, NotFoundError
from ttsw.models.measurements import ModelSize, open_measurements
from ttsw.packs.reader import PackError
from ttsw.profiles.derivation import binding, derive, session_mb, transient_mb
from ttsw.profiles.estimation import MARGIN, estimate_model, of_size, with_session
from ttsw.profiles.gpu_cards import Card, find_card
from ttsw.profiles.schema import Bound, DerivedSettings, ModelFacts, Slo
from ttsw.types import VoicePack

MB = 1e6
UNITS = {"": 1e9, "gb": 1e9, "gib": 2**30, "mb": 1e6, "mib": 2**20, "tb": 1e12, "g": 1e9, "m": 1e6}
UNTOLD = "a GPU"


class Sized(NamedTuple):
    """A model, and who says how large it is.

    Args:
        facts: What is known of it.
        source: Where its size is from, in words.
    """

    facts: ModelFacts
    source: str


class FitPlan(NamedTuple):
    """What would fit.

    Args:
        memory_mb: The memory that there would be.
        models: The models, by id.
        derived: What a server would run by. Sessions are there only where the GPU's speed is known.
        bound: What keeps each model from more sessions.
        room: How many sessions of each model there is memory for, where it is alone and a session's size is known.
        card: The GPU, as far as it is known.
    """

    memory_mb: float
    models: Mapping[str, Sized]
    derived: DerivedSettings
    bound: Mapping[str, Bound | None]
    room: Mapping[str, int]
    card: Card | None


def plan(models: Mapping[str, Sized], memory_mb: float, card: Card | None, slo: Slo | None = None) -> FitPlan:
    """Plan what would fit.

    Args:
        models: The models.
        memory_mb: The memory that there would be.
        card: How fast it would be; None where that isn't known.
        slo: What sessions must keep to.
    """
    slo = slo or Slo()
    facts = {
        name: with_session(each.facts) if card is None else estimate_model(card, each.facts, slo)
        for name, each in models.items()
    }
    derived = derive(facts, memory_mb, margin=MARGIN)
    sized = {name: Sized(facts[name], each.source) for name, each in models.items()}
    return FitPlan(memory_mb, sized, derived, binding(facts, derived), _room(facts, derived.budget_mb), card)


def read_size(text: str) -> float:
    """Read an amount of memory, MB; without a unit it is GB.

    >>> read_size("24GB"), read_size("24 GiB"), read_size("8")
    (24000.0, 25769.803776, 8000.0)

    Raises:
        InvalidArgumentError: It is none.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text.lower())
    if found is None or found[2] not in UNITS or not 0 < float(found[1]) < math.inf:
        raise InvalidArgumentError(f"{text!r} is no amount of memory; write 24GB, 24GiB or 24000MB")
    return float(found[1]) * UNITS[found[2]] / MB


def find_card_for(name: str | None, memory_mb: float | None, bandwidth_gb_s: float | None) -> Card | None:
    """Put together what is said of a GPU; None where nothing is said of its speed.

    Raises:
        NotFoundError: No such card is known.
    """
    if name is None and bandwidth_gb_s is None:
        return None
    card = find_card(name) if name else Card(UNTOLD, 0.0, 0.0, math.inf, math.inf, "")
    return card._replace(
        memory_mb=card.memory_mb if memory_mb is None else memory_mb,
        bandwidth_gb_s=card.bandwidth_gb_s if bandwidth_gb_s is None else bandwidth_gb_s,
    )


def find_models(config: Config, path: Path | None, names: Sequence[str]) -> dict[str, Sized]:
    """Find models and their sizes, with those that they are based on; no name means all that are made for a GPU.

    Args:
        config: The configuration.
        path: Its file.
        names: The models' ids.

    Raises:
        NotFoundError: There is no such model.
        InvalidArgumentError: One isn't made for a GPU.
    """
    packs, book = open_packs(path), open_measurements(config)
    shelf = packs.catalogue
    made = [key for key in {*shelf.packs, *shelf.incomplete} if (pack := _pack(packs, key)).vram_mb or pack.base]
    wanted, found = list(names or sorted(made)), dict[str, Sized]()
    while wanted:
        name = wanted.pop(0)
        pack = _pack(packs, name)
        found[name] = size_of(pack, book[name].measured)
        wanted += [pack.base] if pack.base and pack.base not in found else []
    if not found:
        raise NotFoundError("no voice pack is made for a GPU; name models: --models ID,ID")
    return found


def size_of(pack: VoicePack, measured: Mapping[str, ModelSize]) -> Sized:
    """Say what a pack takes on a GPU: as measured on this machine's, else as it states.

    Raises:
        InvalidArgumentError: It isn't made for a GPU, and was never on one.
    """
    device = next((name for name in sorted(measured) if name.startswith("cuda:")), None)
    if device is not None:
        known = measured[device]
        size, peak = known.size / MB, max(known.peak, known.size) / MB
        facts = ModelFacts(family=pack.family, version=pack.version, base=pack.base, size_mb=size, peak_mb=peak)
        return Sized(facts, f"measured here on {device}")
    if pack.vram_mb:
        return Sized(_stated(pack, pack.vram_mb), "stated by its pack")
    if pack.capabilities.cpu_ok:
        raise InvalidArgumentError(f"{pack.model_id} runs on the processor, and takes no memory of a GPU")
    return Sized(_stated(pack, pack.disk_mb), "its files’ size, stated by its pack")


def _stated(pack: VoicePack, size_mb: float) -> ModelFacts:
    return of_size(pack.family, size_mb, version=pack.version, base=pack.base)


def _pack(packs: PackList, name: str) -> VoicePack:
    draft = packs.draft(name)
    if draft is None:
        raise PackError(packs.catalogue.broken[name])
    return draft.pack


def _room(models: Mapping[str, ModelFacts], budget: float) -> dict[str, int]:
    return {
        name: max(0, math.floor((budget - facts.size_mb) / session_mb(facts)))
        for name, facts in models.items()
        if session_mb(facts) and facts.size_mb + transient_mb(facts) <= budget
    }
