import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsw.errors import ResourceExhaustedError, UnavailableError
from ttsw.sessions.admission import SOONEST_S, UNKNOWN_S, Turnover, admit

LIMITS = {"a": 12, "b": 4, "c": 1}


def fits(model_id, **active):
    try:
        admit(model_id, active, LIMITS.__getitem__)
    except ResourceExhaustedError:
        return False
    return True


def test_sessions_start_up_to_the_limit():
    admit("a", {"a": 1}, lambda _: 2)
    with pytest.raises(ResourceExhaustedError, match=r"all 2 sessions of a are taken .*max_concurrent_sessions"):
        admit("a", {"a": 2}, lambda _: 2)


def test_none_starts_while_draining():
    with pytest.raises(UnavailableError, match=r"draining.*another worker"):
        admit("a", {}, lambda _: 2, draining=True)


def test_sessions_on_several_models_share_the_worker():
    assert fits("b", a=6, b=1)
    assert not fits("b", a=6, b=2)
    assert fits("a", a=2, b=3)
    assert not fits("a", a=3, b=3)
    assert fits("c")
    assert not fits("c", a=1)
    assert not fits("a", c=1)


def test_several_models_may_have_a_limit_together():
    admit("a", {"a": 5}, LIMITS.__getitem__, mixed=5)
    admit("b", {"a": 4}, LIMITS.__getitem__, mixed=5)
    with pytest.raises(ResourceExhaustedError, match="alone, b would have 4, and several models 5 together"):
        admit("b", {"a": 5}, LIMITS.__getitem__, mixed=5)


def test_a_refusal_says_who_is_there_and_when_to_try_again():
    with pytest.raises(ResourceExhaustedError) as caught:
        admit("b", {"a": 6, "b": 2, "c": 0}, LIMITS.__getitem__, retry_s=lambda: 3.26)
    assert str(caught.value).startswith("the worker is full: 6 on a, 2 on b; alone, b would have 4 (")
    assert "; try again in about 3.3 s, or use another worker" in str(caught.value)


@given(st.lists(st.sampled_from("abc"), max_size=40))
def test_whoever_comes_no_model_and_not_the_whole_is_ever_over_full(wanted):
    active: dict[str, int] = {}
    for model_id in wanted:
        if fits(model_id, **active):
            active[model_id] = active.get(model_id, 0) + 1
    assert all(count <= LIMITS[model_id] for model_id, count in active.items())
    assert sum(count / LIMITS[model_id] for model_id, count in active.items()) <= 1 + 1e-6


@given(st.integers(1, 300))
def test_with_one_limit_for_all_it_is_a_plain_count(limit):
    active = {"a": limit // 2, "b": limit - limit // 2 - 1}
    admit("c", active, lambda _: limit)
    with pytest.raises(ResourceExhaustedError):
        admit("c", active | {"c": 1}, lambda _: limit)


def test_the_next_end_is_guessed_by_how_long_sessions_last():
    turnover = Turnover()
    assert turnover.next_end_s([]) == UNKNOWN_S
    assert turnover.next_end_s([(1.0, math.inf)]) == UNKNOWN_S
    assert turnover.next_end_s([(1.0, 200.0)]) == 200.0
    for duration in (10, 20, 600):
        turnover.ended(duration)
    assert turnover.next_end_s([(5.0, 300.0), (1.0, 300.0)]) == 15.0
    assert turnover.next_end_s([(19.9, 300.0)]) == 300.0, "it will last as long as the third, or expire"
    assert turnover.next_end_s([(9.9, 0.2)]) == SOONEST_S


def test_a_session_older_than_all_that_have_ended_is_there_until_it_expires():
    turnover = Turnover()
    turnover.ended(2.0)
    assert turnover.next_end_s([(280.0, 20.0), (280.0, 25.0)]) == 20.0
