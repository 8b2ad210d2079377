"""What two profiles differ in, and what has drifted."""

import pytest
from hypothesis import given

from tests.unit.profiles.samples import MEASURED, level, model, profiles, spread
from ttsw.profiles import comparison as comparing
from ttsw.profiles.comparison import ComparisonRow, diff, drift
from ttsw.profiles.schema import LoadFacts


def having(**changes):
    """The sample with another Anna."""
    anna = MEASURED.models["piper-anna"].model_copy(update=changes)
    return MEASURED.model_copy(update={"models": MEASURED.models | {"piper-anna": anna}})


def only(rows):
    (row,) = rows
    return row


def different(a, b):
    return [row for row in diff(a, b) if row.a != row.b]


@given(profile=profiles())
def test_a_profile_does_not_differ_from_itself(profile):
    assert different(profile, profile) == []
    assert not any(row.beyond for row in diff(profile, profile))


def test_nothing_has_drifted_where_nothing_has_changed():
    assert drift(MEASURED, MEASURED) == []


def test_a_number_differs_by_a_share():
    row = only(different(MEASURED, having(size_mb=274.5)))
    assert row == ComparisonRow("piper-anna: size, MB", 137.25, 274.5, 1.0, True, True)


def test_a_difference_within_a_tenth_says_nothing():
    assert only(different(MEASURED, having(size_mb=150.0))).beyond is False
    assert only(different(MEASURED, having(size_mb=152.0))).beyond is True


@pytest.mark.parametrize(
    ("found", "beyond"),
    [
        (spread(2.9), False),  # within the first's spread
        (spread(3.5, 1.0), False),  # the first is within this one's
        (spread(3.5, 0.2), True),
        (spread(1.5, 0.2), True),
    ],
)
def test_a_spread_counts_on_both_sides(found, beyond):
    assert only(different(MEASURED, having(session_mb=found))).beyond is beyond


def test_percentiles_spread_from_the_median_to_the_99th():
    def slower(by):
        return drift(MEASURED, having(sweep=(level(4, 150.0 * by),)))

    assert slower(1.05) == []
    assert slower(1.3) != []
    row = only(drift(MEASURED, having(sweep=(level(4, 220.0),))))
    assert row.what == "piper-anna: TTFA p95, ms at 4"
    assert row.change == pytest.approx(220 / 150 - 1, abs=1e-3)


def test_a_level_that_was_measured_several_times_has_their_spread():
    several = having(sweep=(level(4, 100.0), level(4, 200.0), level(4, 150.0)))
    assert drift(several, having(sweep=(level(4, 210.0),))) == []
    assert drift(having(sweep=(level(4, 100.0),)), having(sweep=(level(4, 210.0),))) != []


def test_what_only_one_says_is_no_drift_and_is_shown():
    bare = having(session_mb=None, load=None, sweep=())
    assert drift(MEASURED, bare) == drift(bare, MEASURED) == []
    rows = {row.what: row for row in diff(MEASURED, bare)}
    assert rows["piper-anna: a session, MB"] == ComparisonRow("piper-anna: a session, MB", 2.5, None, None, False)
    assert {row.what: row for row in diff(bare, MEASURED)}["piper-anna: load, s"].b == 0.9


def test_published_sessions_that_do_not_hold_are_drift():
    row = only(drift(MEASURED, having(sweep=(level(9, 500.0, passed=False),))))
    assert row == ComparisonRow(
        "piper-anna: SLOs at 9", "kept", "not kept: TTFA p95 is above the SLO", None, True, True
    )
    assert drift(MEASURED, having(sweep=(level(10, 500.0, passed=False),))) == []


def test_limits_that_were_searched_are_not_measured_again():
    assert drift(MEASURED, having(sessions=2)) == []
    assert only(different(MEASURED, having(sessions=2))).beyond


def test_texts_differ_or_not():
    other = MEASURED.model_copy(update={"software": {"onnxruntime": "1.21", "numpy": "2"}})
    rows = {row.what: row for row in different(MEASURED, other)}
    assert rows["software: onnxruntime"] == ComparisonRow("software: onnxruntime", "1.20", "1.21", None, True)
    assert rows["software: numpy"] == ComparisonRow("software: numpy", None, "2", None, False)


def test_from_nothing_there_is_no_share():
    row = only(different(having(allocated_mb=0.0), having(allocated_mb=5.0)))
    assert (row.change, row.beyond) == (None, True)


def test_loads_are_compared():
    slow = having(load=LoadFacts(load_s=spread(1.5, 0.1), unload_s=spread(0.1), returned_percent=50.0))
    assert [row.what for row in drift(MEASURED, slow)] == ["piper-anna: load, s", "piper-anna: memory returned, %"]


def test_a_model_that_came_is_shown():
    more = MEASURED.model_copy(update={"models": MEASURED.models | {"x-new": model(5.0)}})
    assert ComparisonRow("x-new: size, MB", None, 5.0, None, False) in diff(MEASURED, more)


@pytest.mark.parametrize(
    ("what", "a", "b", "worse"),
    [
        ("x: TTFA p95, ms at 4", 100, 200, True),
        ("x: TTFA p95, ms at 4", 200, 100, False),
        ("x: C100, % at 4", 100, 80, True),
        ("x: C100, % at 4", 80, 100, False),
        ("x: memory returned, %", 60, 100, False),
        ("x: sessions published", 9, 4, True),
        ("x: a session, MB", 9, 4, False),
        ("x: size, MB", 100, 105, False),
    ],
)
def test_which_difference_is_for_the_worse(what, a, b, worse):
    row = comparing._row(what, comparing._one(a), comparing._one(b))
    assert row.worse is worse
