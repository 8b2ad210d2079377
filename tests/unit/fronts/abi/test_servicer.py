"""The servicer's tables; tests/integration checks its methods over the wire."""

import pytest

from ttsw.errors import ERRORS
from ttsw.fronts.abi import servicer
from ttsw.fronts.abi.generated import tts


def test_every_command_is_obeyed():
    assert set(servicer.COMMANDS) == set(tts.ControlCommand)


def test_every_method_is_served():
    ours = servicer.TTSServicer(None).__mapping__()
    assert set(ours) == set(tts.TtsServiceBase().__mapping__())


@pytest.mark.parametrize("code", sorted(ERRORS))
def test_a_refusal_has_a_message_and_a_code(code):
    fields = servicer.refusal(ERRORS[code]("because"))
    assert fields == {"success": False, "message": "because", "error": tts.ErrorCode(int(code))}
    assert fields["error"].name == code.name


def test_metrics_are_zero_before_the_first_measurement():
    assert servicer.NOT_YET_MEASURED == {"rtf": 0, "ttfa_ms_p50": 0, "ttfa_ms_p95": 0}
