"""Importing torchaudio, and libraries that import it, where its native part can't be loaded."""

import logging
import sys
import warnings
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType


def prepare_imports() -> None:
    """Make torchaudio importable; call this before importing a library that may import it.

    torchaudio's newest release is compiled against CUDA and an older torch, and fails to load its native part beside a
    CPU build. The parts that engines use (resampling, mel filters) are plain Python. If the native part can't be
    loaded, a stub replaces it. Without torchaudio, nothing is done.
    """
    logging.getLogger("torio").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    name = "torchaudio._extension"
    if name in sys.modules or find_spec("torchaudio") is None:
        return
    try:
        import_module("torchaudio")
    except (ImportError, OSError, RuntimeError):
        for loaded in [each for each in sys.modules if each.partition(".")[0] == "torchaudio"]:
            del sys.modules[loaded]
        sys.modules[name] = _absent_extension(name)


def _absent_extension(name: str) -> ModuleType:
    module = ModuleType(name, "Stands where torchaudio's native part would be.")

    def check_cuda_version() -> None:
        """Do nothing: there is no version to check."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("torchaudio's native part isn't loaded here")

    vars(module).update(
        _IS_TORCHAUDIO_EXT_AVAILABLE=False,
        _IS_ALIGN_AVAILABLE=False,
        _IS_RIR_AVAILABLE=False,
        _check_cuda_version=check_cuda_version,
        fail_if_no_align=lambda _function: fail,
        fail_if_no_rir=lambda _function: fail,
        lazy_import_sox_ext=fail,
    )
    return module
