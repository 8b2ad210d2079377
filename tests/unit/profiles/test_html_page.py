"""One page, self-contained and safe, whatever a profile's texts hold."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings

from tests.unit.profiles.samples import MEASURED, level, model, profiles
from ttsw.profiles.estimated import estimated_profiles
from ttsw.profiles.html_page import to_html

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;"
VOID = {"meta"}


class Reader(HTMLParser):
    """Holds tags to their order, and remembers them and the text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.texts, self._open = [], [], [], []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def harmless(page):
    read = Reader(page)
    assert not {"script", "img", "link", "iframe", "a", "object", "use", "image"} & set(read.tags)
    assert not [each for each in read.attributes if each[1].startswith("on") or each[1] in {"href", "src", "style"}]
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    return read


def test_the_page_shows_what_was_measured():
    page = to_html(MEASURED)
    read = harmless(page)
    said = " ".join(" ".join(read.texts).split())
    for words in (
        "A Processor",
        "measured on 2026-11-22",
        "load average 3.5",
        "piper-anna while hibari-heart speaks: 2",
        "not kept TTFA p95 is above the SLO",
        "SLO 300",
        "sessions at once",
        "onnxruntime",
        "headroom: 400 MB",
        "a note",
        "3 (by chance)",
    ):
        assert words in said
    assert "Estimated" not in said
    assert read.tags.count("svg") == 3
    assert "prefers-color-scheme: dark" in page


def test_lines_rise_with_what_they_show():
    page = to_html(MEASURED)
    lines = re.findall(r'<polyline class="line-(\d)" points="([^"]*)"', page)
    assert [number for number, _ in lines] == ["0", "1", "2"] * 2
    points = [tuple(map(float, point.split(","))) for point in lines[0][1].split()]
    assert len(points) == 3
    assert points == sorted(points)  # more sessions are further to the right
    assert [y for _, y in points] == sorted((y for _, y in points), reverse=True)  # and take longer: higher up
    p50, p95 = (float(line[1].split()[-1].split(",")[1]) for line in lines[:2])
    assert p95 < p50


def test_texts_are_escaped_everywhere():
    sample = MEASURED.models["piper-anna"].model_copy(
        update={"family": EVIL, "sweep": (level(1), level(2, passed=False))}
    )
    sample = sample.model_copy(
        update={"sweep": tuple(each.model_copy(update={"why": EVIL, "passed": False}) for each in sample.sweep)}
    )
    beside = tuple(each.model_copy(update={"speaking": EVIL, "beside": EVIL}) for each in MEASURED.interference)
    profile = MEASURED.model_copy(
        update={
            "device": MEASURED.device.model_copy(update={"name": EVIL}),
            "host": MEASURED.host.model_copy(update={"system": EVIL}),
            "software": {EVIL: EVIL},
            "disturbances": (EVIL,),
            "models": {EVIL: sample},
            "interference": beside,
            "derived": MEASURED.derived.model_copy(update={"resident": (EVIL,), "sessions": {EVIL: 3}}),
            "notes": EVIL,
        }
    )
    page = to_html(profile)
    assert "<script" not in page
    assert "<img" not in page
    assert "".join(harmless(page).texts).count(EVIL) >= 10


@pytest.mark.parametrize("profile", estimated_profiles(), ids=lambda profile: profile.name)
def test_an_estimate_says_so_first(profile):
    read = harmless(to_html(profile))
    said = " ".join(read.texts)
    assert said.index("Estimated, not measured.") < said.index("What fits")
    assert "No level of load was measured." in said


@settings(max_examples=40, deadline=None)
@given(profile=profiles())
def test_any_profile_makes_a_page(profile):
    harmless(to_html(profile))


def test_one_level_and_no_figures_make_a_page():
    bare = level(1).model_copy(update={"ttfa_ms": None, "c0": None, "c50": None, "c100": None})
    models = {"a": model(sweep=(level(1),)), "b": model(sweep=(bare,))}
    derived = MEASURED.derived.model_copy(update={"resident": (), "sessions": {}})
    harmless(to_html(MEASURED.model_copy(update={"models": models, "derived": derived})))


def test_it_loads_nothing():
    page = to_html(MEASURED)
    assert "http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"" in page
    assert "http://" not in page
    assert "https://" not in page
