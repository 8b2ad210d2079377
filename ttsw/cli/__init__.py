"""The command line: `ttsw serve`, `ttsw say`, `ttsw config`. Whatever a person reads is written here."""

from ttsw.cli.main import main

__all__ = ["main"]
