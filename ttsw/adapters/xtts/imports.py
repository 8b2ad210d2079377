"""Coqui's library, imported where half of what it asks for is missing or doesn't load."""

import logging

from ttsw.adapters.pytorch.torchaudio_stub import prepare_imports

prepare_imports()

from TTS.config.shared_configs import BaseDatasetConfig  # noqa: E402
from TTS.tts.configs.xtts_config import XttsArgs, XttsAudioConfig, XttsConfig  # noqa: E402
from TTS.tts.layers.xtts.gpt import GPT  # noqa: E402
from TTS.tts.layers.xtts.tokenizer import VoiceBpeTokenizer  # noqa: E402
from TTS.tts.models.xtts import Xtts  # noqa: E402

logging.getLogger("transformers").setLevel(logging.ERROR)  # it warns of how the library uses its GPT-2

__all__ = [
    "GPT",
    "BaseDatasetConfig",
    "VoiceBpeTokenizer",
    "Xtts",
    "XttsArgs",
    "XttsAudioConfig",
    "XttsConfig",
]
