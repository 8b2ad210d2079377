"""Transformers' classes of CSM and Mimi, imported where half of what it asks for is missing."""

from transformers.utils import logging

logging.set_verbosity_error()  # it reports of what we check ourselves
logging.disable_progress_bar()

from transformers.cache_utils import DynamicCache  # noqa: E402
from transformers.models.csm.configuration_csm import CsmConfig  # noqa: E402
from transformers.models.csm.modeling_csm import CsmBackboneModel, CsmDepthDecoderForCausalLM  # noqa: E402
from transformers.models.mimi.modeling_mimi import MimiConv1d, MimiConvTranspose1d, MimiModel, MimiResnetBlock  # noqa: E402

__all__ = [
    "CsmBackboneModel",
    "CsmConfig",
    "CsmDepthDecoderForCausalLM",
    "DynamicCache",
    "MimiConv1d",
    "MimiConvTranspose1d",
    "MimiModel",
    "MimiResnetBlock",
]
