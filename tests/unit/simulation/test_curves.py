import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.simulation.profiles import facts, level
from ttsw.profiles.schema import Slo
from ttsw.simulation.curves import along, curves_of


def test_measured_levels_are_points_of_the_curves():
    sweep = [level(4, 160, 0.6), level(1, 100, 0.2), level(2, 120, 0.3, arrivals="poisson")]
    curves = curves_of(facts(sweep=sweep), Slo())
    assert curves.at(1) == (0.1, 0.2)
    assert curves.at(4) == pytest.approx((0.16, 0.6))
    assert curves.at(2.5) == pytest.approx((0.13, 0.4))
    assert curves.at(7) == pytest.approx((0.22, 1.0))


@pytest.mark.parametrize("bound", ["ttfa", "continuity", "memory", None])
@pytest.mark.parametrize("sessions", [1, 6, 40])
def test_without_levels_the_limit_lies_between_the_last_session_and_the_next(sessions, bound):
    curves = curves_of(facts(sessions, bound), Slo(ttfa_ms=300))
    good, bad = curves.at(sessions), curves.at(sessions + 1)
    assert good[0] < 0.3
    assert good[1] < 1
    assert (bad[0] > 0.3) == (bound == "ttfa")
    assert (bad[1] > 1) == (bound in {"continuity", None})


@given(st.lists(st.tuples(st.integers(1, 50), st.floats(0, 10)), min_size=1, max_size=6, unique_by=lambda p: p[0]))
def test_a_curve_goes_through_its_points_and_never_below_nothing(points):
    points.sort()
    assert all(along(points, x) == pytest.approx(max(0.0, y)) for x, y in points)
    assert all(along(points, x / 4) >= 0 for x in range(300))
