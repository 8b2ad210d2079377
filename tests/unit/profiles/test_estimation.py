"""The formula of estimated profiles: its parts, and that what is estimated says so."""

import math
from datetime import UTC, datetime

import pytest

from tests.unit.profiles.samples import model, spread
from ttsw.errors import NotFoundError
from ttsw.profiles import estimation as estimating
from ttsw.profiles.compute_costs import RECIPES, Recipe
from ttsw.profiles.estimation import (
    BUSY,
    COMPUTING,
    LAUNCH_S,
    READING,
    at,
    busy,
    estimate,
    estimate_model,
    of_size,
    step_s,
)
from ttsw.profiles.gpu_cards import CARDS, Card, find_card
from ttsw.profiles.schema import Slo

DATE = datetime(2026, 1, 2, tzinfo=UTC)
CARD = Card("A GPU", 10_000, 100, 100, 50, "9.9")
RECIPE = Recipe(
    steps_per_s=10,
    step_mb=600,
    step_gflop=0.6,
    step_launches=100,
    position_mb=0.01,
    positions=1000,
    prompt=100,
    first_steps=2,
    first_s=0.2,
    chunk_s=1.0,
    codec_gflop=15,
    codec_launches=100,
    places=2,
)


@pytest.fixture
def recipe(monkeypatch):
    def use(**changes):
        monkeypatch.setattr(estimating, "RECIPES", {"odd": RECIPE._replace(**changes)})

    return use


def limit(**more):
    found = estimate_model(CARD, of_size("odd", 2000), Slo(**more))
    return found.sessions, found.bound


def test_a_step_reads_all_weights_and_keys_and_values_or_is_bound_by_launches():
    assert step_s(CARD, RECIPE, 1) == pytest.approx((600 + 5) / 1000 / (100 * READING))
    assert step_s(CARD, RECIPE, 2) == pytest.approx((600 + 10) / 1000 / (100 * READING))
    assert step_s(CARD, RECIPE._replace(step_launches=10_000), 1) == pytest.approx(10_000 * LAUNCH_S)


def test_a_second_of_audio_takes_steps_for_each_group_and_a_codec_for_each_session():
    codec = 15 / (50_000 * COMPUTING)
    assert busy(CARD, RECIPE, 0) == 0
    assert busy(CARD, RECIPE, 1) == pytest.approx(10 * step_s(CARD, RECIPE, 1) + codec)
    assert busy(CARD, RECIPE, 2) == pytest.approx(10 * step_s(CARD, RECIPE, 2) + 2 * codec)
    assert busy(CARD, RECIPE, 3) == pytest.approx(2 * 10 * step_s(CARD, RECIPE, 2) + 3 * codec)


def test_a_newcomer_has_what_the_others_leave():
    alone = at(CARD, RECIPE, 1).ttfa_ms - estimating.FIXED_S * 1000
    crowded = at(CARD, RECIPE, 3).ttfa_ms - estimating.FIXED_S * 1000
    assert crowded == pytest.approx(alone / (1 - busy(CARD, RECIPE, 2)))
    assert at(CARD, RECIPE._replace(steps_per_s=1e4), 2).ttfa_ms == math.inf


def test_continuity_bounds(recipe):
    recipe(positions=1)
    sessions, bound = limit(ttfa_ms=10_000)
    assert bound == "continuity"
    assert (
        busy(CARD, RECIPE._replace(positions=1), sessions)
        < BUSY
        <= busy(CARD, RECIPE._replace(positions=1), sessions + 1)
    )


def test_time_to_first_audio_bounds(recipe):
    recipe(positions=1)
    sessions, bound = limit(ttfa_ms=100)
    assert bound == "ttfa"
    one = RECIPE._replace(positions=1)
    assert at(CARD, one, sessions).ttfa_ms <= 100 < at(CARD, one, sessions + 1).ttfa_ms
    assert limit(ttfa_ms=1) == (0, "ttfa")


def test_memory_bounds(recipe):
    recipe(position_mb=3.0, step_mb=0)  # 3000 MB a session, 7500 MB beside model and headroom
    assert limit(ttfa_ms=10_000) == (2, "memory")


def test_nothing_may_bound(recipe):
    recipe(steps_per_s=0, codec_gflop=0, codec_launches=0, positions=0)
    assert limit() == (estimating.MOST_SESSIONS, "search")


@pytest.mark.parametrize("name", RECIPES)
def test_a_faster_card_is_never_worse(name):
    known = of_size(name, 4000)
    card = CARDS["l4"]
    less = estimate_model(card, known, Slo()).sessions
    for change in ({"bandwidth_gb_s": 600}, {"fp16_tflops": 500}, {"fp32_tflops": 90}, {"memory_mb": 48_000}):
        assert estimate_model(card._replace(**change), known, Slo()).sessions >= less


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_computing_a_full_step_is_hidden_behind_reading_on_all_cards(recipe):
    for card in CARDS.values():
        rate = (card.fp16_tflops if recipe.half else card.fp32_tflops) * 1000 * COMPUTING
        assert recipe.places * recipe.step_gflop / rate < step_s(card, recipe, recipe.places)


def test_what_is_known_stays_and_what_is_not_known_is_not_made_up():
    strange = model(family="strange", sessions=None)
    known = model(family="sesame", sessions=None, session_mb=spread(3))
    found = estimate("x", CARD, {"s": strange, "k": known}, date=DATE)
    assert found.models["s"] == strange
    assert found.models["k"].session_mb == spread(3)
    assert set(found.derived.sessions) == {"k"}
    assert all(facts.load is None and facts.sweep == () for facts in found.models.values())


def test_an_estimate_says_that_it_is_one():
    found = estimate("x", CARD, {"k": of_size("sesame", 5000, version="1.0")}, date=DATE)
    assert (found.provenance, found.date, found.device.driver, found.host) == ("estimated", DATE, None, None)
    assert found.notes.startswith("Estimated, not measured: by the formula of ttsw/profiles/estimation.py")
    assert found.derived.margin == 0.5
    assert found.derived.sessions["k"] == max(1, found.models["k"].sessions // 2)


def test_an_unknown_card_is_told_with_those_there_are():
    assert find_card("l4") is CARDS["l4"]
    with pytest.raises(NotFoundError, match="no card 'l5'; known are: rtx4090, "):
        find_card("l5")
