"""Text from elsewhere, made safe to show: one definition for the registry, voice packs, answers and terminals."""


def is_printable(text: str) -> bool:
    """Whether nothing in a text acts on a terminal or hides: no control, format, bidi or unassigned character.

    >>> is_printable("größe 日本"), is_printable("a" + chr(0x202E) + "b"), is_printable(chr(27))
    (True, False, False)
    """
    return text.isprintable()


def printable(text: str, most: int | None = None) -> str:
    r"""Write out what is not printable (`\u202e`), and cut a text longer than `most` characters.

    >>> printable("worker:" + chr(27) + "[2J" + chr(0x202E))
    'worker:\\x1b[2J\\u202e'
    >>> printable("abcdef", 4)
    'abc…'
    """
    if not text.isprintable():
        text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    return text if most is None or len(text) <= most else f"{text[: most - 1]}…"
