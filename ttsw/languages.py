"""Matching language tags (BCP 47).

Tags are compared as in RFC 4647, ignoring case; an underscore counts as a hyphen.
"""

from collections.abc import Iterable


def match_language(wanted: str, offered: Iterable[str]) -> str | None:
    """Return the offered tag that matches a requested one; None if none does.

    An exact match comes first, then the longest offered prefix of it (lookup, RFC 4647 section 3.4), then the first
    offered tag that it is a prefix of (filtering, section 3.3.1).

    >>> match_language("en_us", ["de", "en"]), match_language("EN", ["de", "en-GB"]), match_language("fr", ["en"])
    ('en', 'en-GB', None)
    """
    tags = {_normal(tag): tag for tag in reversed([*offered])}
    wanted = _normal(wanted)
    part = wanted
    while part:
        if part in tags:
            return tags[part]
        part = part.rpartition("-")[0]
    return next((tag for normal, tag in reversed(tags.items()) if normal.startswith(f"{wanted}-")), None)


def primary(tag: str) -> str:
    """Return the language of a tag, without script and region.

    >>> primary("zh_Hans-CN")
    'zh'
    """
    return _normal(tag).partition("-")[0]


def _normal(tag: str) -> str:
    return tag.strip().replace("_", "-").lower()
