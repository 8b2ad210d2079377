"""ttsw: a streaming text-to-speech worker."""

__version__ = "0.1.0"
