"""What transformers needs before it can be imported."""

from ttsw.adapters.pytorch.torchaudio_stub import prepare_imports

prepare_imports()
