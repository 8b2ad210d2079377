"""From measurements to limits."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.profiles.samples import level, model, spread
from ttsw.profiles.derivation import LEAST_HEADROOM_MB, binding, derive, session_mb, transient_mb
from ttsw.profiles.schema import Interference

_models = st.dictionaries(
    st.sampled_from("abcdef"),
    st.builds(
        lambda size, extra, sessions, each: model(
            size, peak_mb=size + extra, sessions=sessions, session_mb=each and spread(each, each / 10)
        ),
        st.floats(1, 5000),
        st.floats(0, 1000),
        st.none() | st.integers(0, 40),
        st.none() | st.floats(0.1, 500),
    ),
    max_size=6,
)
_memory = st.floats(0, 20_000)


def need(names, models):
    """What models take together while the last of them is loaded, each with a session."""
    return sum(models[name].size_mb + session_mb(models[name]) for name in names) + max(
        (transient_mb(models[name]) for name in names), default=0
    )


@given(models=_models, memory=_memory)
def test_it_is_never_over_the_budget(models, memory):
    found = derive(models, memory)
    near = found.budget_mb + 1e-6
    assert found.budget_mb + found.headroom_mb <= memory + 1e-6
    assert need(found.resident, models) <= near
    for name, sessions in found.sessions.items():
        assert models[name].size_mb + sessions * session_mb(models[name]) <= near
        assert models[name].peak_mb <= near
        assert 1 <= sessions <= max(1, models[name].sessions)
    speaking = [name for name in found.resident if name in found.sessions]
    if speaking:
        used = sum(models[name].size_mb for name in found.resident)
        assert used + found.mixed_sessions * max(session_mb(models[name]) for name in speaking) <= near
        assert found.mixed_sessions <= min(found.sessions[name] for name in speaking)


@given(models=_models, memory=_memory)
def test_the_cap_is_how_many_fit_and_no_more_do(models, memory):
    found = derive(models, memory)
    assert found.resident_cap == max(1, len(found.resident))
    for more in combinations(models, len(found.resident) + 1):
        assert need(more, models) > found.budget_mb - 1e-6


@given(models=_models, memory=_memory, more=st.floats(0, 20_000))
def test_more_memory_never_gives_less(models, memory, more):
    less, greater = derive(models, memory), derive(models, memory + more)
    assert greater.budget_mb >= less.budget_mb
    assert greater.resident_cap >= less.resident_cap
    assert all(greater.sessions[name] >= sessions for name, sessions in less.sessions.items())


def test_the_budget_is_what_headroom_and_processes_leave():
    assert derive({}, 24_000).model_dump() == {
        "headroom_mb": 1200.0,
        "budget_mb": 22_800.0,
        "resident_cap": 1,
        "resident": (),
        "sessions": {},
        "mixed_sessions": 1,
        "margin": 0.9,
    }
    assert derive({}, 1000).headroom_mb == LEAST_HEADROOM_MB
    assert derive({}, 100).budget_mb == 0
    assert derive({}, 10_000, headroom_mb=0, floor_mb=300, processes=3).budget_mb == 9_100


def test_sessions_are_the_margins_share_rounded_down_and_at_least_one():
    models = {name: model(sessions=count) for name, count in {"a": 10, "b": 3, "c": 1, "d": 0, "e": None}.items()}
    found = derive(models, 100_000, margin=0.85)
    assert found.sessions == {"a": 8, "b": 2, "c": 1, "d": 1}
    assert derive({"a": model(sessions=10)}, 100_000, margin=0.9).sessions == {"a": 9}


def test_memory_bounds_sessions_and_says_so():
    models = {"a": model(1000, peak_mb=1000, sessions=10, session_mb=spread(100), bound="ttfa")}
    found = derive(models, 1500, headroom_mb=0)
    assert found.sessions == {"a": 5}
    assert binding(models, found) == {"a": "memory"}
    found = derive(models, 5000, headroom_mb=0)
    assert found.sessions == {"a": 9}
    assert binding(models, found) == {"a": "ttfa"}


def test_a_session_counts_for_the_most_that_was_measured():
    models = {"a": model(1000, sessions=10, session_mb=spread(100, 150))}
    assert derive(models, 1500, headroom_mb=0).sessions == {"a": 2}


def test_what_does_not_fit_has_no_sessions():
    models = {"large": model(9000), "peaky": model(1000, peak_mb=6000), "small": model(100)}
    found = derive(models, 5000, headroom_mb=0)
    assert set(found.sessions) == {"small"}
    assert found.resident == ("small",)
    assert derive({"large": models["large"]}, 5000).resident_cap == 1


def test_the_most_valuable_of_as_many_are_had_there():
    models = {name: model(1000, peak_mb=1000) for name in "abc"}
    assert derive(models, 2000, headroom_mb=0).resident == ("a", "b")
    assert derive(models, 2000, headroom_mb=0, values={"c": 1}).resident == ("a", "c")


def test_voices_stand_on_their_base_and_do_not_count_against_the_cap():
    models = {
        "base": model(4000, peak_mb=4000),
        "lora-a": model(50, peak_mb=50, base="base"),
        "lora-b": model(60, peak_mb=60, base="base"),
        "alone": model(10, base="elsewhere"),
    }
    found = derive(models, 4055, headroom_mb=0)
    assert (found.resident, found.resident_cap) == (("base", "lora-a"), 1)
    assert derive(models, 4200, headroom_mb=0).resident == ("base", "lora-a", "lora-b")
    assert "lora-a" not in derive(models, 4000, headroom_mb=0).sessions
    assert derive(models, 4000, headroom_mb=0).resident == ("base",)


# --- several models that speak


def beside(one, other, sessions, *, passed=True):
    return Interference(speaking=one, beside=other, doing="speaks", level=level(sessions, passed=passed))


def both_ways(sessions, *, passed=True):
    return [beside("a", "b", sessions, passed=passed), beside("b", "a", sessions, passed=passed)]


PAIR = {"a": model(sessions=10), "b": model(sessions=4)}


@pytest.mark.parametrize(
    ("interference", "wanted"),
    [
        ([], 3),
        ([beside("a", "b", 8)], 3),
        ([beside("a", "b", 8), beside("b", "a", 6)], 5),
        ([beside("a", "b", 2), beside("b", "a", 2)], 3),
        ([beside("a", "b", 8), beside("b", "a", 3, passed=False)], 2),
        ([*both_ways(9, passed=False), *both_ways(7)], 6),
        ([*both_ways(9, passed=False), *both_ways(2)], 1),
        ([beside("a", "b", 9, passed=False), beside("b", "a", 9), *both_ways(7)], 6),
        ([*both_ways(9, passed=False), *both_ways(3, passed=False)], 2),
        ([beside("a", "b", 1, passed=False)], 1),
        ([beside("a", "c", 2, passed=False)], 3),
        ([beside("a", "b", 2, passed=False).model_copy(update={"doing": "loads"})], 3),
    ],
)
def test_mixed_sessions_are_the_least_unless_it_was_measured(interference, wanted):
    assert derive(PAIR, 100_000, interference=interference).mixed_sessions == wanted


def test_mixed_sessions_need_memory_beside_all():
    models = {name: model(1000, peak_mb=1200, sessions=10, session_mb=spread(100)) for name in "ab"}
    assert derive(models, 2500, headroom_mb=0).mixed_sessions == 3
    assert derive(models, 2500, headroom_mb=0).sessions == {"a": 9, "b": 9}
