"""Figures name states and causes by themselves, since they may not import those who have them."""

from ttsw.models.instances import Cause as UnloadCause
from ttsw.models.instances import State
from ttsw.sessions.utterance import Cause
from ttsw.telemetry import figures
from ttsw.worker import Readiness


def test_states_and_causes_are_those_of_the_layers_above():
    assert tuple(Readiness) == figures.WORKER_STATES
    assert tuple(State) == figures.MODEL_STATES
    assert tuple(Cause) == figures.CAUSES
    assert tuple(UnloadCause) == figures.UNLOAD_CAUSES
