from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsw.errors import ErrorCode
from ttsw.sessions.state import TABLE, Event, IllegalMoveError, State, move

LIVE = [state for state in State if state is not State.ENDED]
CONTROLS = [Event.PAUSED, Event.RESUMED, Event.STOPPED, Event.RELOADED]


def test_every_control_is_legal_and_idempotent_on_a_live_session():
    for state, event in product(LIVE, CONTROLS):
        once = move(state, event)
        assert move(once, event) is once


def test_nothing_is_legal_on_an_ended_session():
    for event in Event:
        with pytest.raises(IllegalMoveError, match=f"{event} is not possible while the session is ended"):
            move(State.ENDED, event)


def test_one_utterance_at_a_time():
    for state in (State.SPEAKING, State.PAUSED):
        with pytest.raises(IllegalMoveError, match="one Synthesize at a time") as refusal:
            move(state, Event.BEGUN)
        assert refusal.value.code is ErrorCode.FAILED_PRECONDITION


def test_a_pause_while_idle_holds_the_next_utterance():
    assert move(move(State.IDLE, Event.PAUSED), Event.BEGUN) is State.PAUSED


@pytest.mark.parametrize("end", [Event.FINISHED, Event.STOPPED])
def test_a_pause_ends_with_the_utterance_that_it_met(end):
    assert move(move(State.PAUSED, end), Event.BEGUN) is State.SPEAKING


def test_nothing_finishes_that_has_not_begun():
    for state in (State.IDLE, State.HELD):
        with pytest.raises(IllegalMoveError):
            move(state, Event.FINISHED)


def test_every_live_session_can_be_ended():
    assert {TABLE[state, Event.ENDED] for state in LIVE} == {State.ENDED}


@given(st.lists(st.sampled_from(list(Event))))
def test_from_wherever_events_lead_stop_makes_the_session_usable(events):
    state = State.IDLE
    for event in events:
        try:
            state = move(state, event)
        except IllegalMoveError:
            continue
    if state is not State.ENDED:
        assert move(move(state, Event.STOPPED), Event.BEGUN) is State.SPEAKING
