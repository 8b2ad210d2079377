import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsw.sessions.pacing import JITTER_S, Pacer
from ttsw.units import FRAME_S

LEAD_S = 0.04


def send_all(pacer: Pacer, now: float) -> int:
    count = pacer.allowance(now)
    if count:
        pacer.count(count, now)
    return count


def test_the_lead_comes_at_once_and_then_a_frame_each_20_ms():
    pacer = Pacer(LEAD_S)
    assert send_all(pacer, 10.0) == 2
    assert send_all(pacer, 10.0) == 0
    for number in range(1, 200):
        due = pacer.due(10.0)
        assert due == pytest.approx(10.0 + number * FRAME_S)
        assert send_all(pacer, due) == 1
    assert pacer.underruns == 0


@given(st.lists(st.floats(0, 0.3), min_size=1, max_size=60), st.floats(0.02, 2))
def test_never_more_than_the_lead_ahead_of_playout(waits, lead_s):
    pacer = Pacer(lead_s)
    now = start = 5.0
    send_all(pacer, now)
    gaps_s = 0.0
    for wait in waits:
        now += wait
        before = pacer.due(now)
        dry_s = now - before - lead_s + FRAME_S
        if dry_s > JITTER_S:
            gaps_s += dry_s
        send_all(pacer, now)
        heard_s = now - start - gaps_s
        assert pacer.sent * FRAME_S <= heard_s + lead_s + 1e-5


def test_a_pause_freezes_the_clock():
    pacer = Pacer(LEAD_S)
    send_all(pacer, 0.0)
    pacer.freeze(0.01)
    assert pacer.allowance(5.0) == 0
    assert pacer.due(5.0) == math.inf
    pacer.thaw(100.01)
    assert pacer.due(100.01) == pytest.approx(100.02)
    assert pacer.allowance(100.01) == 0
    assert send_all(pacer, 100.02) == 1
    assert pacer.underruns == 0


def test_a_pause_before_the_first_frame_costs_nothing():
    pacer = Pacer(LEAD_S)
    pacer.freeze(0.0)
    assert pacer.allowance(1.0) == 0
    pacer.thaw(3.0)
    assert send_all(pacer, 3.0) == 2


def test_freezing_twice_is_freezing_once():
    pacer = Pacer(LEAD_S)
    send_all(pacer, 0.0)
    pacer.freeze(0.01)
    pacer.freeze(0.5)
    pacer.thaw(1.01)
    pacer.thaw(2.0)
    assert pacer.due(0) == pytest.approx(1.02)


def test_what_comes_late_is_an_underrun_and_not_caught_up_with():
    pacer = Pacer(LEAD_S)
    send_all(pacer, 0.0)  # heard until 0.04
    assert pacer.allowance(0.56) > 1
    pacer.count(1, 0.56)
    assert pacer.underruns == 1
    assert pacer.largest_gap_s == pytest.approx(0.52)
    pacer.count(pacer.allowance(0.56), 0.56)
    assert pacer.sent == 2 + 1 + 1
    assert pacer.underruns == 1


def test_a_gap_for_want_of_text_is_no_underrun():
    pacer = Pacer(LEAD_S)
    send_all(pacer, 0.0)
    pacer.count(1, 2.0, excused=True)
    assert (pacer.underruns, pacer.largest_gap_s) == (0, 0.0)
    assert pacer.due(2.0) == pytest.approx(2.04 - LEAD_S)


def test_without_a_limit_everything_may_go_unless_paused():
    pacer = Pacer(math.inf)
    assert pacer.allowance(0.0) == math.inf
    pacer.count(1_000, 0.0)
    pacer.count(1, 900.0)
    assert pacer.underruns == 0
    assert pacer.due(900.0) == 900.0
    pacer.freeze(900.0)
    assert pacer.allowance(901.0) == 0


@pytest.mark.parametrize(
    ("behind_s", "frames", "late"),
    [(0.0, 1, 0), (JITTER_S, 1, 0), (0.006, 1, 1), (0.02, 2, 1), (0.026, 2, 2), (0.2, 3, 3)],
)
def test_a_frame_is_late_that_is_sent_more_than_the_jitter_after_it_was_due(behind_s, frames, late):
    pacer = Pacer(LEAD_S)
    send_all(pacer, 10.0)
    pacer.count(frames, pacer.due(10.0) + behind_s)
    assert pacer.late == late


def test_what_is_excused_or_in_nobodys_time_is_not_late():
    pacer = Pacer(LEAD_S)
    send_all(pacer, 10.0)
    pacer.count(1, 20.0, excused=True)
    assert pacer.late == 0
    pacer = Pacer(math.inf)
    pacer.count(1, 10.0)
    pacer.count(1, 20.0)
    assert pacer.late == 0
