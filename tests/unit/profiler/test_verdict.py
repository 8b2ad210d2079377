"""What was heard of a load, judged: its figures, what it fails by, and what is odd about it."""

import pytest

from ttsw.profiler.load_messages import LoadResult, UtteranceTimes
from ttsw.profiler.verdict import continuity, drifts, judge, oddities, parts
from ttsw.profiles.schema import Slo
from ttsw.sessions.stats import percentile

SLO = Slo()


def said(began_s=0.0, first_s=0.1, **more):
    told = {"characters": 40, "took_s": 3.0, "audio_s": 2.9, "finished": True} | more
    return UtteranceTimes(model="a", began_s=began_s, first_s=first_s, **told)


def heard(*utterances, **more):
    return LoadResult(seconds=9.0, utterances=list(utterances), **more)


def verdict(*utterances, slo=SLO, **more):
    return judge(heard(*utterances, **more), 4, slo, model="a")


def test_the_figures_of_a_good_level():
    spoken = [
        said(began_s=at, first_s=0.1 + (4 * at % 9) / 100, gap_s=0.02 * (at == 1), rtf=rtf)
        for at, rtf in enumerate([0.2] * 4 + [0.1] * 4 + [0.3])
    ]
    found = judge(
        heard(*spoken, jitter={"a": {0: 90, 25: 9, 400: 1}, "b": {9: 9}}),
        4,
        SLO,
        model="a",
        memory_mb=123.456,
    )
    level = found.level
    assert found.bound is None
    assert (level.passed, level.why, level.errors, level.sessions, level.utterances) == (True, "", 0, 4, 9)
    assert (level.ttfa_ms.p50, level.ttfa_ms.p95, level.ttfa_ms.n) == (140.0, 180.0, 9)
    assert (level.rtf.p50, level.rtf.p99) == (0.2, 0.3)
    assert (level.jitter_ms.p50, level.jitter_ms.p95, level.jitter_ms.p99, level.jitter_ms.n) == (0.0, 2.5, 2.5, 100)
    assert (level.largest_gap_ms, level.c0, level.c50, level.c100) == (20.0, 88.88, 100.0, 100.0)
    assert level.memory_mb == 123.5
    assert level.stop_ms is None


def test_percentiles_are_by_nearest_rank():
    spoken = [said(first_s=number / 1000) for number in range(1, 101)]
    level = verdict(*spoken).level
    values = [float(number) for number in range(1, 101)]
    assert level.ttfa_ms.p95 == percentile(values, 95) == 95.0
    assert level.ttfa_ms.p99 == percentile(values, 99) == 99.0


@pytest.mark.parametrize(
    ("utterances", "more", "bound", "why"),
    [
        ([said(first_s=0.31)], {}, "ttfa", "TTFA p95 310 ms is above 300 ms"),
        ([said(), said(gap_s=0.101)], {}, "continuity", "C100 50 % is below 100 %"),
        ([said(first_s=0.4, gap_s=0.2)], {}, "ttfa", "TTFA p95 400 ms is above 300 ms; C100 0 % is below"),
        ([said(), said(error="INTERNAL: boom", finished=False)], {}, "errors", "1 of 2 failed: INTERNAL: boom"),
        ([said()], {"refused": ["RESOURCE_EXHAUSTED: full"]}, "errors", "1 of 2 failed: RESOURCE_EXHAUSTED: full"),
        ([], {}, "ttfa", "no utterance began to sound within 9 s"),
        ([said(ahead_s=0.9)], {}, "errors", "audio came 0.9 s ahead of real time"),
        ([said(first_s=None, finished=False, took_s=0.5, audio_s=0)], {}, "ttfa", "TTFA p95 500 ms"),
    ],
)
def test_what_fails(utterances, more, bound, why):
    found = verdict(*utterances, **more)
    assert not found.level.passed
    assert found.bound == bound
    assert why in found.level.why


def test_who_computes_longer_than_it_plays_runs_dry_sooner_or_later():
    found = verdict(*(said(rtf=rtf) for rtf in (0.9, 1.01, 1.1)))
    assert (found.level.passed, found.bound) == (False, "continuity")
    assert "RTF 1.01" in found.level.why
    assert verdict(*(said(rtf=rtf) for rtf in (0.9, 0.99, 1.5, None))).level.passed


def test_who_has_not_waited_beyond_the_slo_yet_says_nothing():
    waiting = said(began_s=8.9, first_s=None, finished=False, took_s=0.1, audio_s=0)
    level = verdict(said(), waiting).level
    assert level.passed
    assert level.ttfa_ms.n == 1
    assert level.utterances == 1


def test_stopped_utterances_count_for_what_was_heard_of_them():
    level = verdict(said(), said(stop_s=0.005)).level
    assert (level.passed, level.utterances, level.ttfa_ms.n, level.stop_ms.p50) == (True, 1, 2, 5.0)


def test_another_slo_judges_otherwise():
    utterances = [said(first_s=0.31)] * 20 + [said(gap_s=0.3)]
    assert not verdict(*utterances).level.passed
    assert verdict(*utterances, slo=Slo(ttfa_ms=320, c100_percent=95)).level.passed


@pytest.mark.parametrize(("limit", "share"), [(0, 25.0), (50, 50.0), (100, 75.0)])
def test_continuity(limit, share):
    assert continuity([said(gap_s=gap) for gap in (0, 0.05, 0.1, 0.2)], limit) == share
    assert continuity([], limit) is None


def test_one_gap_among_thousands_is_not_rounded_away():
    assert continuity([said()] * 99_999 + [said(gap_s=0.2)], 100) < 100


def windows(*first_ms):
    return [
        said(began_s=3 * number + at, first_s=ms / 1000)
        for number, ms in enumerate(first_ms)
        for at in (0, 0.5, 1, 1.5, 2)
    ]


@pytest.mark.parametrize(
    ("first_ms", "stable", "drifting"),
    [
        ((100, 100, 100), True, False),
        ((100, 105, 109), True, False),
        ((20, 24, 25), True, False),  # 25 % of so little is chance
        ((100, 150, 200), False, True),
        ((100, 130, 160), False, False),
        ((200, 100, 250), False, False),
        ((250, 150, 100), False, False),
    ],
)
def test_windows_near_each_other_and_windows_that_drift(first_ms, stable, drifting):
    spoken = windows(*first_ms)
    found = verdict(*spoken)
    assert found.level.stable is stable
    assert drifts(parts(spoken, 9.0), SLO) is drifting
    assert found.bound == ("drift" if drifting else None)


def test_too_few_utterances_say_nothing_of_stability():
    assert verdict(said(), said(began_s=4), said(began_s=8)).level.stable is None


def test_nothing_is_odd_about_an_honest_voice():
    assert oddities(heard(said(rtf=0.02), said(took_s=0.3, rtf=0.03)), "a") == []
    assert oddities(heard(), "a") == []


@pytest.mark.parametrize(
    ("utterance", "word"),
    [
        (said(characters=400, rtf=0.1), "137.9 characters a second"),
        (said(characters=10, rtf=0.1), "3.4 characters a second"),
        (said(took_s=9.0, rtf=0.1), "the server says that computing takes 0.10"),
    ],
)
def test_a_voice_that_lies_about_its_rate_is_noticed(utterance, word):
    (odd,) = oddities(heard(utterance), "a")
    assert word in odd
