"""The version of ttsw, stated here only."""

__version__ = "0.1.0"
