"""Lines drawn with Braille's dots."""

from hypothesis import given
from hypothesis import strategies as st

from ttsw.cli.ui.plots import HEIGHT, Series, plot


def drawn(points, **more):
    return [line.plain for line in plot("TTFA, ms", [Series("p95", "cyan", points)], **more)]


def dots(line):
    return [column for column, sign in enumerate(line) if 0x2800 < ord(sign) <= 0x28FF]


def test_nothing_to_draw_is_nothing():
    assert plot("x", []) == []
    assert drawn([]) == []


def test_a_line_rises_from_left_to_right():
    lines = drawn([(1, 0), (9, 100)], width=40)
    assert len(lines) == HEIGHT + 3
    heading, body, ends = lines[0], lines[1 : HEIGHT + 1], lines[-1]
    assert heading == "TTFA, ms  ⠶ p95  "
    assert body[0].startswith("     100 ┤")
    assert max(dots(body[0])) == 10 + 39
    assert min(dots(body[-1])) == 10
    assert [min(dots(line)) for line in body] == sorted((min(dots(line)) for line in body), reverse=True)
    assert ends.split() == ["1", "9", "sessions"]


def test_the_slo_goes_across_where_no_line_is():
    lines = drawn([(1, 0), (2, 0)], limit=300, width=30)
    assert lines[0].endswith("┄ SLO 300")
    marked = [line for line in lines[1:] if "┄" in line]
    assert len(marked) == 1
    assert marked[0].startswith("     300 ┤")
    assert marked[0].count("┄") == 30


def test_a_single_level_is_a_dot():
    body = drawn([(4, 50)], width=20)[1 : HEIGHT + 1]
    assert [len(dots(line)) for line in body if dots(line)] == [1]
    assert drawn([(4, 50)], width=20)[-1].split() == ["4", "sessions"]


@given(
    st.lists(st.tuples(st.integers(1, 300), st.floats(0, 1e9)), min_size=1, max_size=8, unique_by=lambda each: each[0]),
    st.none() | st.floats(1, 1e6),
)
def test_any_line_stays_in_its_frame(points, limit):
    lines = drawn(sorted(points), limit=limit, width=30)
    assert all(len(line) <= 40 for line in lines[1 : HEIGHT + 1])
    assert any(dots(line) for line in lines[1 : HEIGHT + 1])
