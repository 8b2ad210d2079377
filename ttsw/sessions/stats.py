"""Statistics over recent utterances, for clients and schedulers."""

from collections import deque
from collections.abc import Iterable

from ttsw.sessions.utterance import UtteranceReport

KEPT = 1_000
"""Number of recent utterances considered."""


class Stats:
    """Statistics over recent utterances. Values that were not measured are absent."""

    def __init__(self) -> None:
        self._first_s: deque[float] = deque(maxlen=KEPT)
        self._compute: deque[tuple[float, float]] = deque(maxlen=KEPT)
        self.utterances = 0
        self.failures = 0
        self.underruns = 0

    def add(self, report: UtteranceReport) -> None:
        """Add an utterance's report."""
        self.utterances += 1
        self.failures += bool(report.error)
        self.underruns += report.underruns
        if report.first_s is not None:
            self._first_s.append(report.first_s)
        if report.made:
            self._compute.append((report.compute_s, report.made_s))

    def metrics(self) -> dict[str, float]:
        """Return the statistics by name: counts, `rtf`, `ttfa_ms_p50` and `ttfa_ms_p95`, as far as known."""
        metrics = {
            "utterances_total": float(self.utterances),
            "failed_utterances_total": float(self.failures),
            "underruns_total": float(self.underruns),
        }
        if self._compute:
            compute_s, made_s = map(sum, zip(*self._compute, strict=True))
            metrics["rtf"] = compute_s / made_s
        if self._first_s:
            metrics["ttfa_ms_p50"] = 1000 * percentile(self._first_s, 50)
            metrics["ttfa_ms_p95"] = 1000 * percentile(self._first_s, 95)
        return metrics


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the smallest value that `percent` of the values don't exceed (nearest rank).

    >>> percentile([1, 2, 3, 4], 50), percentile([1, 2, 3, 4], 95)
    (2, 4)
    """
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]
