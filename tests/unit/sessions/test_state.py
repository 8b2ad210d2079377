from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsw.errors import ErrorCode
from ttsw.sessions.state import TABLE, IllegalMoveError, SessionEvent, SessionState, move

LIVE = [state for state in SessionState if state is not SessionState.ENDED]
CONTROLS = [SessionEvent.PAUSED, SessionEvent.RESUMED, SessionEvent.STOPPED, SessionEvent.RELOADED]


def test_every_control_is_legal_and_idempotent_on_a_live_session():
    for state, event in product(LIVE, CONTROLS):
        once = move(state, event)
        assert move(once, event) is once


def test_nothing_is_legal_on_an_ended_session():
    for event in SessionEvent:
        with pytest.raises(IllegalMoveError, match=f"{event} is not possible while the session is ended"):
            move(SessionState.ENDED, event)


def test_one_utterance_at_a_time():
    for state in (SessionState.SPEAKING, SessionState.PAUSED):
        with pytest.raises(IllegalMoveError, match="one Synthesize at a time") as refusal:
            move(state, SessionEvent.BEGUN)
        assert refusal.value.code is ErrorCode.FAILED_PRECONDITION


def test_a_pause_while_idle_holds_the_next_utterance():
    assert move(move(SessionState.IDLE, SessionEvent.PAUSED), SessionEvent.BEGUN) is SessionState.PAUSED


@pytest.mark.parametrize("end", [SessionEvent.FINISHED, SessionEvent.STOPPED])
def test_a_pause_ends_with_the_utterance_that_it_met(end):
    assert move(move(SessionState.PAUSED, end), SessionEvent.BEGUN) is SessionState.SPEAKING


def test_nothing_finishes_that_has_not_begun():
    for state in (SessionState.IDLE, SessionState.HELD):
        with pytest.raises(IllegalMoveError):
            move(state, SessionEvent.FINISHED)


def test_every_live_session_can_be_ended():
    assert {TABLE[state, SessionEvent.ENDED] for state in LIVE} == {SessionState.ENDED}


@given(st.lists(st.sampled_from(list(SessionEvent))))
def test_from_wherever_events_lead_stop_makes_the_session_usable(events):
    state = SessionState.IDLE
    for event in events:
        try:
            state = move(state, event)
        except IllegalMoveError:
            continue
    if state is not SessionState.ENDED:
        assert move(move(state, SessionEvent.STOPPED), SessionEvent.BEGUN) is SessionState.SPEAKING
