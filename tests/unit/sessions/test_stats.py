import pytest

from ttsw.sessions.stats import Stats, percentile
from ttsw.sessions.utterance import EndCause, UtteranceReport


def test_what_was_not_measured_is_absent():
    assert not {"rtf", "ttfa_ms_p50"} & set(Stats().metrics())


def test_figures_over_utterances():
    stats = Stats()
    for first_s in (0.1, 0.2, 0.3):
        stats.add(UtteranceReport(EndCause.FINISHED, frames=50, made=50, first_s=first_s, compute_s=0.1))
    stats.add(UtteranceReport(EndCause.FAILED, error="no", underruns=2))
    metrics = stats.metrics()
    assert metrics["rtf"] == pytest.approx(0.1)
    assert metrics["ttfa_ms_p50"] == pytest.approx(200)
    assert metrics["ttfa_ms_p95"] == pytest.approx(300)
    assert (metrics["utterances_total"], metrics["failed_utterances_total"], metrics["underruns_total"]) == (4, 1, 2)


def test_rtf_counts_the_audio_that_was_made_not_what_a_stop_left_of_it():
    stats = Stats()
    stats.add(UtteranceReport(EndCause.STOPPED, frames=5, made=100, first_s=0.1, compute_s=0.2))
    assert stats.metrics()["rtf"] == pytest.approx(0.1)


def test_percentiles_are_values_that_occurred():
    assert [percentile(range(1, 101), percent) for percent in (0, 50, 95, 100)] == [1, 50, 95, 100]
