"""CosyVoice's library, imported where most of what it asks for is missing: training, hydra, whisper, ModelScope.

Modules that it imports and that speaking never calls are stood in for. What it does to the process's logging, as it is
imported, is undone.
"""

import logging
import sys
import warnings
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace

from ttsw.adapters.pytorch.torchaudio_stub import prepare_imports


def _stand_in(name: str, **members: object) -> ModuleType:
    """Put a module in the place of one that isn't installed, unless it is there already."""
    if name not in sys.modules:
        module = ModuleType(name, "Stands where a module would be that speaking doesn't use.")
        vars(module).update(members)
        sys.modules[name] = module
    return sys.modules[name]


def _prepare() -> None:
    """Stand in for what Matcha's and CosyVoice's modules import: lightning, rich and hydra, and omegaconf."""
    spec = find_spec("matcha")
    if spec is None or not spec.submodule_search_locations:
        return  # then the import below says what is missing
    utils = _stand_in("matcha.utils", get_pylogger=logging.getLogger)
    utils.__path__ = [f"{folder}/utils" for folder in spec.submodule_search_locations]
    _stand_in("matcha.utils.pylogger", get_pylogger=logging.getLogger)
    if find_spec("omegaconf") is None:
        _stand_in("omegaconf", DictConfig=lambda content: SimpleNamespace(**content))
    if find_spec("conformer") is None:
        _stand_in("conformer", ConformerBlock=object)  # of Matcha's own models


prepare_imports()
_prepare()
_root = logging.getLogger()
_before = (_root.level, [*_root.handlers])
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    # the first of these imports all others: they import each other in a circle, which closes from here only
    import cosyvoice.cli.model  # noqa: F401
    from cosyvoice.flow.decoder import CausalConditionalDecoder
    from cosyvoice.flow.flow import CausalMaskedDiffWithXvec
    from cosyvoice.flow.flow_matching import CausalConditionalCFM
    from cosyvoice.hifigan.f0_predictor import ConvRNNF0Predictor
    from cosyvoice.hifigan.generator import HiFTGenerator
    from cosyvoice.llm.llm import Qwen2Encoder, Qwen2LM
    from cosyvoice.transformer.upsample_encoder import UpsampleConformerEncoder
    from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2TokenizerFast
_root.setLevel(_before[0])
_root.handlers[:] = _before[1]

__all__ = [
    "CausalConditionalCFM",
    "CausalConditionalDecoder",
    "CausalMaskedDiffWithXvec",
    "ConvRNNF0Predictor",
    "HiFTGenerator",
    "Qwen2Config",
    "Qwen2Encoder",
    "Qwen2ForCausalLM",
    "Qwen2LM",
    "Qwen2TokenizerFast",
    "UpsampleConformerEncoder",
]
