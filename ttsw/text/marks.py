"""Marks that end, open and quote sentences. Data only."""

# ruff: noqa: RUF001  # marks and words of many scripts are what this file is about

HARD = "。！？｡؟۔।॥።።։៕။"
"""Marks that end a sentence whatever follows."""
SOFT = ".!?…‼⁇⁈⁉"
"""Marks that end a sentence, depending on their neighbours."""
CLOSERS = "'\")\\]}*_`’”»›“‘」』）》】〕〉"
"""Marks that close a quotation, a bracket or an emphasis; escaped for a character class."""
QUOTES = "'\"*_`‘“„«‹¿¡「『"
"""Marks that open a sentence."""
LINE = r"(?:\r\n|[\n\r\x0b\x0c\x85\u2028\u2029])"
"""Line break, as a pattern."""
LOOK_AHEAD = 24
"""Most characters after (and before) a mark that its judgement considers."""
