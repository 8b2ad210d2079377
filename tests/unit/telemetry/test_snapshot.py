"""Figures name states and causes by themselves, since they may not import those who have them."""

from ttsw.models.instances import ModelState, UnloadCause
from ttsw.sessions.utterance import EndCause
from ttsw.telemetry import snapshot as figures
from ttsw.worker import Readiness


def test_states_and_causes_are_those_of_the_layers_above():
    assert tuple(Readiness) == figures.WORKER_STATES
    assert tuple(ModelState) == figures.MODEL_STATES
    assert tuple(EndCause) == figures.CAUSES
    assert tuple(UnloadCause) == figures.UNLOAD_CAUSES
