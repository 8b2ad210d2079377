"""The states and causes of telemetry equal those of the layers that it must not import."""

from ttsw.models.instances import ModelState, UnloadCause
from ttsw.sessions.utterance import EndCause
from ttsw.telemetry import snapshot as module
from ttsw.worker import Readiness


def test_states_and_causes_are_those_of_the_layers_above():
    assert tuple(Readiness) == module.WORKER_STATES
    assert tuple(ModelState) == module.MODEL_STATES
    assert tuple(EndCause) == module.CAUSES
    assert tuple(UnloadCause) == module.UNLOAD_CAUSES
