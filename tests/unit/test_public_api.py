"""The public API: the names that `ttsw` and `ttsw.testing` export, their documentation, and that importing is cheap."""

import inspect
import subprocess
import sys

import pytest

import ttsw
import ttsw.testing

PUBLIC = """
AlreadyExistsError AudioFrame Capabilities Client Config ConfigError ControlCommand EngineSettings ErrorCode
FailedPreconditionError InternalError InvalidArgumentError NotFoundError Option OutOfMemoryError ResourceExhaustedError
Synthesizer TTSAdapter TTSClient TextChunk TtswError UnavailableError VoicePack Worker __version__ load_config
open_client open_synthesizer
"""


def test_the_public_names_are_these():
    assert sorted(ttsw.__all__) == sorted(PUBLIC.split()) == sorted(set(PUBLIC.split()))
    assert set(ttsw.__all__) <= set(dir(ttsw))
    assert set(ttsw.testing.__all__) == {"FakeAdapter", "FakeDevice", "FakeHost", "check_adapter", "open_worker"}


@pytest.mark.parametrize("name", sorted(set(PUBLIC.split()) - {"__version__"}))
def test_a_public_name_is_documented(name):
    value = getattr(ttsw, name)
    if value.__module__.startswith("ttsw.fronts.abi.generated"):
        return  # proto/tts.proto documents these
    assert value.__doc__
    for method, function in vars(value).items() if inspect.isclass(value) else ():
        if inspect.isfunction(function) and not method.startswith("_"):
            assert function.__doc__, f"{name}.{method}"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'ttsw' has no attribute 'Speaker'"):
        _ = ttsw.Speaker


def test_importing_ttsw_imports_none_of_its_parts():
    code = "import sys, ttsw; print([name for name in sys.modules if name.startswith(('ttsw.', 'trio', 'numpy'))])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
