"""`python -m ttsw` is `ttsw`."""

from ttsw.cli import main

main()
