"""The search finds the limit that a curve was made with, whatever binds, and never overfills memory."""

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsw.profiler.search import Outcome, RunLevel, SearchDone, SearchLimits, fits, next_step

MOST = 512


def search(judge: Callable[[RunLevel], tuple[bool, str | None]], limits: SearchLimits, memory=lambda _sessions: None):
    outcomes = []
    while isinstance(step := next_step(outcomes, limits), RunLevel):
        assert 1 <= step.sessions <= limits.most
        passed, bound = judge(step)
        outcomes.append(Outcome(step.sessions, step.kind, passed, bound, memory(step.sessions)))
        assert len(outcomes) < 200
    return step, outcomes


def cliff(limit, bound):
    return lambda step: (step.sessions <= limit, None if step.sessions <= limit else bound)


def most_levels(limit):
    return 3 * math.ceil(math.log2(limit + 2)) + 10


@given(st.integers(0, MOST + 5), st.sampled_from(["ttfa", "continuity", "errors", "drift"]))
def test_a_cliff_is_found_exactly(limit, bound):
    done, outcomes = search(cliff(limit, bound), SearchLimits(MOST))
    assert done == (SearchDone(limit, bound) if limit < MOST else SearchDone(MOST, "search"))
    assert len(outcomes) <= most_levels(limit)
    confirmed = [each for each in outcomes if each.kind == "confirm" and each.sessions == done.sessions]
    assert len(confirmed) == (3 if limit else 0)
    if done.sessions > 1:
        assert any(each.sessions == done.sessions - 1 and each.passed for each in outcomes)


@given(st.integers(0, 300), st.floats(1, 100), st.floats(0, 5000), st.booleans())
def test_memory_is_never_overfilled(limit, session_mb, base_mb, is_known):
    ceiling = base_mb + session_mb * (limit + 0.5)
    seen = []

    def memory(sessions):
        seen.append(base_mb + session_mb * sessions)
        return seen[-1]

    limits = SearchLimits(MOST, ceiling_mb=ceiling, base_mb=base_mb, session_mb=session_mb if is_known else None)
    if limit == 0 and not is_known:  # nobody can tell before the first
        limits = SearchLimits(MOST, ceiling_mb=ceiling, base_mb=base_mb, session_mb=session_mb)
    done, outcomes = search(lambda _step: (True, None), limits, memory)
    assert done == SearchDone(limit, "memory")
    assert all(mb <= ceiling for mb in seen)
    assert len(outcomes) <= most_levels(limit)


@given(st.integers(1, 200), st.integers(0, 10_000))
def test_noise_in_the_figures_moves_the_limit_by_one_at_most(limit, seed):
    dice = random.Random(seed)

    def judge(step):  # TTFA grows by 4 % of the SLO a session about the limit, and is measured to within 2 %
        ttfa = 1 + 0.04 * (step.sessions - limit - 0.5)
        passed = ttfa * (1 + dice.uniform(-0.018, 0.018)) <= 1
        return passed, None if passed else "ttfa"

    done, outcomes = search(judge, SearchLimits(MOST))
    assert abs(done.sessions - limit) <= 1
    assert done.bound == "ttfa"
    assert len(outcomes) <= most_levels(limit)


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_it_ends_whatever_is_answered(seed, share):
    dice = random.Random(seed)
    done, outcomes = search(lambda _step: (dice.random() < share, "errors"), SearchLimits(MOST))
    assert 0 <= done.sessions <= MOST
    assert len(outcomes) <= 60


def test_a_single_failure_on_the_way_up_gets_a_second_chance():
    answers = iter([True, False])

    def judge(step):
        return next(answers, step.sessions <= 9), "ttfa"

    assert search(judge, SearchLimits(64))[0] == SearchDone(9, "ttfa")
    answers = iter([True, False])
    assert search(judge, SearchLimits(64, second_chance="none"))[0] == SearchDone(1, "ttfa")


def test_a_confirmation_that_fails_lowers_the_candidate():
    outcomes = [Outcome(each, "probe", True) for each in (1, 2, 4)]
    outcomes += [Outcome(6, "probe", False, "ttfa")] * 2 + [Outcome(5, "probe", True)]
    assert next_step(outcomes, SearchLimits(64)) == RunLevel(5, "confirm")
    outcomes += [Outcome(5, "confirm", True), Outcome(5, "confirm", False, "continuity")]
    assert next_step(outcomes, SearchLimits(64)) == RunLevel(4, "confirm")
    outcomes += [Outcome(4, "confirm", True)] * 3
    assert next_step(outcomes, SearchLimits(64)) == RunLevel(3, "confirm")
    assert next_step([*outcomes, Outcome(3, "confirm", True)], SearchLimits(64)) == SearchDone(4, "continuity")
    below_fails = [*outcomes, Outcome(3, "confirm", False, "drift")]
    assert next_step(below_fails, SearchLimits(64)) == RunLevel(1, "confirm")


def test_memory_that_is_over_after_the_fact_fails_a_level_at_once():
    limits = SearchLimits(64, ceiling_mb=100.0, base_mb=10.0)
    outcomes = [Outcome(1, "probe", True, memory_mb=11.0), Outcome(2, "probe", True, memory_mb=150.0)]
    assert next_step(outcomes, limits) == RunLevel(1, "confirm")
    assert next_step([*outcomes, *[Outcome(1, "confirm", True)] * 3], limits) == SearchDone(1, "memory")


@pytest.mark.parametrize(("most", "fit"), [(3, True), (4, False)])
def test_what_fits(most, fit):
    limits = SearchLimits(64, ceiling_mb=50.0, base_mb=20.0, session_mb=10.0)
    assert fits(most, [Outcome(1, "probe", True, memory_mb=21.0)], limits) is fit
    assert fits(64, [], SearchLimits(64))


def test_coarse_searches_stop_halving_early():
    exact = search(cliff(75, "ttfa"), SearchLimits(MOST))
    coarse = search(cliff(75, "ttfa"), SearchLimits(MOST, coarse=0.2))
    assert len(coarse[1]) < len(exact[1])
    assert 75 * 0.8 <= coarse[0].sessions <= 75


def test_a_coarse_search_steps_down_as_far_as_it_may_be_off():
    limits = SearchLimits(200, coarse=0.2)
    passed = [Outcome(sessions, "probe", passed=True) for sessions in (64, 100)]
    seen = [*passed, Outcome(101, "probe", passed=False), Outcome(101, "probe", passed=False)]
    assert next_step(seen, limits) == RunLevel(100, "confirm")
    seen.append(Outcome(100, "confirm", passed=False))
    assert next_step(seen, limits) == RunLevel(90, "confirm")
    seen.append(Outcome(90, "confirm", passed=False))
    assert next_step(seen, limits) == RunLevel(70, "confirm")
