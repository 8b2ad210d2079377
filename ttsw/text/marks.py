"""The marks that sentences end with, open with and are quoted by. Data only; what they decide stands beside it."""

# ruff: noqa: RUF001  # marks and words of many scripts are what this file is about

HARD = "。！？｡؟۔।॥።።։៕။"
"""Marks that end a sentence whatever follows."""
SOFT = ".!?…‼⁇⁈⁉"
"""Marks that end a sentence unless their neighbours tell otherwise."""
CLOSERS = "'\")\\]}*_`’”»›“‘」』）》】〕〉"
"""Marks that close a quotation, a bracket or an emphasis; as they stand in a character class."""
QUOTES = "'\"*_`‘“„«‹¿¡「『"
"""Marks that open a sentence."""
LINE = r"(?:\r\n|[\n\r\x0b\x0c\x85\u2028\u2029])"
"""A line's end, as a pattern."""
LOOK_AHEAD = 24
"""Characters after a mark that a verdict looks at, at most; before it, too."""
