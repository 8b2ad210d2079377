"""Charts: where lines and bars lie."""

import re

from hypothesis import given
from hypothesis import strategies as st

from ttsw.profiles.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Line, line_chart, memory_bar, nice


def numbers(pattern, text):
    return [tuple(map(float, found)) for found in re.findall(pattern, text)]


def test_points_lie_between_the_axes():
    chart = line_chart("t", "ms", [Line("a", [(1, 0), (5, 50), (9, 100)])])
    points = numbers(r'cx="([\d.]+)" cy="([\d.]+)"', chart)
    assert points == [
        (LEFT, HEIGHT - BOTTOM),
        ((LEFT + WIDTH - RIGHT) / 2, (HEIGHT - BOTTOM + TOP) / 2),
        (WIDTH - RIGHT, TOP),
    ]


def test_the_limit_is_always_on_the_chart():
    chart = line_chart("t", "ms", [Line("a", [(1, 5)])], limit=400)
    assert numbers(r'<line class="slo"[^>]* y1="([\d.]+)" y2="([\d.]+)"', chart) == [(TOP, TOP)]
    assert ">SLO 400</text>" in chart


def test_nothing_to_draw_is_nothing():
    assert line_chart("t", "ms", [], limit=3) == ""
    assert line_chart("t", "ms", [Line("a", [])]) == ""


def test_a_bar_has_each_part_in_proportion():
    bar = memory_bar("m", [("a", 250), ("b", 500)], 1000)
    assert numbers(r'part-\d" x="([\d.]+)" y="2" width="([\d.]+)"', bar) == [(0, WIDTH / 4), (WIDTH / 4, WIDTH / 2)]
    assert "free: 250 MB" in bar
    assert "free: 0 MB" in memory_bar("m", [("a", 2000)], 1000)
    assert "free: 0 MB" in memory_bar("m", [], 0)


@given(value=st.floats(1e-6, 1e12))
def test_axes_end_at_or_little_above_the_highest(value):
    assert value * (1 - 1e-6) <= nice(value) <= 2.01 * value
