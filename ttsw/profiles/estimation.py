r"""Estimating a profile from published specifications and the models' sizes: a formula, and no measurement.

For n sessions of a model that speak at once on a card:

- A *step* of its transformer makes the next token (or frame) of up to `places` utterances. It takes the longer of

      launches · LAUNCH_S          and          (weights + utterances · keys and values) / (bandwidth · READING)

  for a step reads all its weights once, and computing is hidden behind reading as long as few utterances share it.
- A second of audio takes `busy(n)` seconds of the card:

      groups · steps_per_s · step  +  max(groups · flow launches, n · flow work)  +  n · max(codec launches, codec work)

  where `groups` is n / places, rounded up, and work is operations / (rate · COMPUTING).
- Time to first audio, with n - 1 others at work, is

      FIXED_S  +  (prompt + first_steps · step + flow + codec of the first chunk) / (1 - busy(n - 1))

  since what the others leave of the card is the newcomer's.
- n sessions are possible while `busy(n)` is below `BUSY` (continuity), that time is within the SLO (ttfa), and the
  card has memory for the model, its sessions and the headroom (memory).

Figures of the families are in `ttsw.profiles.compute_costs`, those of cards in `ttsw.profiles.gpu_cards`. None of these
constants was fitted to anything; a measured profile replaces the estimate.
"""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from ttsw.profiles.compute_costs import RECIPES, Recipe
from ttsw.profiles.derivation import HEADROOM, LEAST_HEADROOM_MB, derive
from ttsw.profiles.gpu_cards import Card
from ttsw.profiles.schema import Bound, DeviceFacts, ModelFacts, Profile, Slo, Spread

READING = 0.6
"""Share of the published bandwidth that reading weights row by row gets. Assumption."""
COMPUTING = 0.3
"""Share of the published rate that convolutions and small products get. Assumption."""
LAUNCH_S = 10e-6
"""Time that starting an operation takes, from Python, one by one. Assumption."""
FIXED_S = 0.03
"""What everything but the card takes before first audio: gRPC, segmenting, reading the text, the loudness chain.
Assumption."""
BUSY = 0.8
"""Share of the time that the card may be at work, so that no utterance falls behind. Assumption."""
FILLED = 0.5
"""Share of a session's positions that are filled while it speaks, in the mean. Assumption."""
LOADING = 1.2
"""What a model takes while it is loaded, by its size, where nobody has measured it. Assumption."""
MARGIN = 0.5
"""The share of what the formula gives that is published: nobody has seen it hold."""
MOST_SESSIONS = 256
"""Where the search for a limit ends."""

NOTES = (
    "Estimated, not measured: by the formula of ttsw/profiles/estimation.py, from published specifications (memory, "
    "bandwidth, TFLOPS), from the sizes that voice packs state, and from the families' published configurations. "
    "session_mb is the memory of keys and values (n: 1 means that it was computed once). "
    "Half of the sessions that the formula gives are published. Replace it by a measured one: ttsw bench."
)


class Estimate(NamedTuple):
    """What the formula says of so many sessions.

    Args:
        busy: Share of the time that the card is at work.
        ttfa_ms: Time to first audio; infinite where the card has no time left.
    """

    busy: float
    ttfa_ms: float


def estimate(
    name: str, card: Card, models: Mapping[str, ModelFacts], *, date: datetime, slo: Slo | None = None
) -> Profile:
    """Estimate a card's profile.

    Args:
        name: The profile's name.
        card: The card.
        models: What is known of models: sizes. What is missing of the rest is estimated, where the family is known.
        date: The profile's date.
        slo: What sessions must keep to.
    """
    slo = slo or Slo()
    facts = {model_id: estimate_model(card, models[model_id], slo) for model_id in sorted(models)}
    device = DeviceFacts(
        kind="gpu", name=card.product, memory_mb=card.memory_mb, compute_capability=card.compute_capability
    )
    return Profile(
        name=name,
        provenance="estimated",
        date=date,
        device=device,
        slo=slo,
        models=facts,
        derived=derive(facts, card.memory_mb, margin=MARGIN),
        notes=NOTES,
    )


def estimate_model(card: Card, known: ModelFacts, slo: Slo) -> ModelFacts:
    """Estimate how many sessions a model bears on a card, and what bounds it; as it is, if its family is unknown."""
    recipe = RECIPES.get(known.family)
    if recipe is None:
        return known
    known = with_session(known)
    sessions, bound = _limit(card, recipe, known, slo)
    return known.model_copy(update={"sessions": sessions, "bound": bound})


def with_session(known: ModelFacts) -> ModelFacts:
    """Add what a session takes, where that isn't known and the family is: its keys and values."""
    recipe = RECIPES.get(known.family)
    if recipe is None or known.session_mb is not None:
        return known
    each = round(recipe.positions * recipe.position_mb, 1)
    return known.model_copy(update={"session_mb": Spread(median=each, low=each, high=each, n=1)})


def of_size(family: str, size_mb: float, *, version: str = "", base: str = "") -> ModelFacts:
    """Say what is known of a model by its size alone."""
    return ModelFacts(family=family, version=version, base=base, size_mb=size_mb, peak_mb=size_mb * LOADING)


def at(card: Card, recipe: Recipe, sessions: int) -> Estimate:
    """Estimate so many sessions at once."""
    left = 1 - busy(card, recipe, sessions - 1)
    first_s = first_work_s(card, recipe) / left if left > 0 else math.inf
    return Estimate(busy(card, recipe, sessions), (FIXED_S + first_s) * 1000)


def step_s(card: Card, recipe: Recipe, utterances: int) -> float:
    """Estimate a step for so many utterances, s."""
    read_mb = recipe.step_mb + utterances * FILLED * recipe.positions * recipe.position_mb
    return max(recipe.step_launches * LAUNCH_S, read_mb / 1000 / (card.bandwidth_gb_s * READING))


def busy(card: Card, recipe: Recipe, sessions: int) -> float:
    """Estimate the time that a second of audio of so many sessions takes, s."""
    if sessions < 1:
        return 0.0
    groups = math.ceil(sessions / recipe.places)
    steps = groups * recipe.steps_per_s * step_s(card, recipe, math.ceil(sessions / groups))
    flow = max(groups * recipe.flow_launches * LAUNCH_S / recipe.chunk_s, sessions * _flow_s(card, recipe))
    codec = max(recipe.codec_launches * LAUNCH_S / recipe.chunk_s, _codec_s(card, recipe))
    return steps + flow + sessions * codec


def first_work_s(card: Card, recipe: Recipe) -> float:
    """Estimate what the card does for an utterance until its first chunk, alone, s."""
    rate = (card.fp16_tflops if recipe.half else card.fp32_tflops) * 1000 * COMPUTING
    prompt = max(step_s(card, recipe, 1), recipe.prompt * recipe.step_gflop / rate)
    flow = max(recipe.flow_launches * LAUNCH_S, recipe.first_s * _flow_s(card, recipe))
    codec = max(recipe.codec_launches * LAUNCH_S, recipe.first_s * _codec_s(card, recipe))
    return prompt + recipe.first_steps * step_s(card, recipe, 1) + flow + codec


def _flow_s(card: Card, recipe: Recipe) -> float:
    return recipe.flow_gflop / (card.fp16_tflops * 1000 * COMPUTING)


def _codec_s(card: Card, recipe: Recipe) -> float:
    return recipe.codec_gflop / (card.fp32_tflops * 1000 * COMPUTING)


def _limit(card: Card, recipe: Recipe, known: ModelFacts, slo: Slo) -> tuple[int, Bound]:
    """Find the most sessions that keep to everything, and what the next one wouldn't."""
    each = known.session_mb.high if known.session_mb else 0.0
    memory = card.memory_mb - max(LEAST_HEADROOM_MB, HEADROOM * card.memory_mb) - known.size_mb
    for sessions in range(1, MOST_SESSIONS + 1):
        expected = at(card, recipe, sessions)
        if sessions * each > memory:
            return sessions - 1, "memory"
        if expected.busy >= BUSY:
            return sessions - 1, "continuity"
        if expected.ttfa_ms > slo.ttfa_ms:
            return sessions - 1, "ttfa"
    return MOST_SESSIONS, "search"
