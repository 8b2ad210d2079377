"""Language tags: asked for in one way, offered in another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsw.languages import match_language


@pytest.mark.parametrize(
    ("wanted", "offered", "taken"),
    [
        ("en", ["en"], "en"),
        ("en-US", ["en"], "en"),
        ("EN_us", ["de", "en"], "en"),
        ("en", ["en-us", "en-gb"], "en-us"),
        ("en-GB", ["en", "en-gb"], "en-gb"),
        ("zh-Hans-CN", ["zh", "zh-cn"], "zh"),
        ("zh_CN", ["zh-cn"], "zh-cn"),
        ("pt-BR", ["pt-PT"], None),
        ("e", ["en"], None),
        ("eng", ["en"], None),
        ("en", ["eng"], None),
        ("", ["en"], None),
        ("-", ["en"], None),
        ("en", [], None),
    ],
)
def test_the_tag_that_is_taken(wanted, offered, taken):
    assert match_language(wanted, offered) == taken


tags = st.lists(st.sampled_from(["en", "us", "GB", "zh", "Hans", ""]), max_size=3).map("-".join)


@given(tags, st.lists(tags, max_size=4))
def test_what_is_taken_is_offered_and_begins_alike(wanted, offered):
    taken = match_language(wanted, offered)
    if taken is not None:
        assert taken in offered
        here, there = taken.lower(), wanted.lower()
        assert here.startswith(there) or there.startswith(here)
