"""ttsw: a streaming text-to-speech worker.

The names listed in `__all__` are the public API; `ttsw.testing` has more for tests. Every other module is private: it
may change in any release. Importing `ttsw` imports none of its parts: each is imported when its name is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ttsw.adapters.base import EngineSettings, TTSAdapter
    from ttsw.config import Config, load_config
    from ttsw.embedded import open_synthesizer
    from ttsw.errors import (
        AlreadyExistsError,
        ConfigError,
        ErrorCode,
        FailedPreconditionError,
        InternalError,
        InvalidArgumentError,
        NotFoundError,
        OutOfMemoryError,
        ResourceExhaustedError,
        TtswError,
        UnavailableError,
    )
    from ttsw.fronts.abi.client import TTSClient, open_client
    from ttsw.fronts.abi.generated.tts import AudioFrame, ControlCommand, TextChunk
    from ttsw.fronts.abi.sync_client import Client
    from ttsw.options import Option
    from ttsw.sessions.synthesizer import Synthesizer
    from ttsw.types import Capabilities, VoicePack
    from ttsw.version import __version__
    from ttsw.worker import Worker

__all__ = [
    "AlreadyExistsError",
    "AudioFrame",
    "Capabilities",
    "Client",
    "Config",
    "ConfigError",
    "ControlCommand",
    "EngineSettings",
    "ErrorCode",
    "FailedPreconditionError",
    "InternalError",
    "InvalidArgumentError",
    "NotFoundError",
    "Option",
    "OutOfMemoryError",
    "ResourceExhaustedError",
    "Synthesizer",
    "TTSAdapter",
    "TTSClient",
    "TextChunk",
    "TtswError",
    "UnavailableError",
    "VoicePack",
    "Worker",
    "__version__",
    "load_config",
    "open_client",
    "open_synthesizer",
]

_MODULES = {
    "ttsw.adapters.base": ("EngineSettings", "TTSAdapter"),
    "ttsw.config": ("Config", "load_config"),
    "ttsw.embedded": ("open_synthesizer",),
    "ttsw.fronts.abi.client": ("TTSClient", "open_client"),
    "ttsw.fronts.abi.generated.tts": ("AudioFrame", "ControlCommand", "TextChunk"),
    "ttsw.fronts.abi.sync_client": ("Client",),
    "ttsw.options": ("Option",),
    "ttsw.sessions.synthesizer": ("Synthesizer",),
    "ttsw.types": ("Capabilities", "VoicePack"),
    "ttsw.version": ("__version__",),
    "ttsw.worker": ("Worker",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the public names have many types
    if name not in __all__:
        raise AttributeError(f"module 'ttsw' has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "ttsw.errors")), name)


def __dir__() -> list[str]:
    return __all__
