"""Judges what was heard of a load: its figures, and whether it keeps to the SLOs.

A stopped, failed or unfinished utterance counts for what was heard of it. One that still waits for its first audio at
the end counts with the time that it has waited, once that is longer than the SLO allows.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ttsw.profiler.load_messages import Arrivals, LoadResult, UtteranceTimes
from ttsw.profiles.schema import Bound, Percentiles, SessionLevel, Slo
from ttsw.sessions.stats import percentile

WINDOWS = 3
"""Parts that a measurement is cut into, to see whether its figures stay."""
NEAR = 0.1
"""They stay where they are within a tenth of each other,"""
NEAR_MS = 5.0
"""or within so many ms: a tenth of a few is chance."""
DRIFT = 1.5
"""They drift where the middle of times to first audio grows from part to part, by so much in all,"""
DRIFT_SHARE = 0.25
"""and by this share of the SLO."""
ENOUGH = 5
"""A window of fewer utterances says nothing of either."""
LEAD_S = 0.5
"""Audio that is further ahead of real time than this wasn't paced."""
TELLING_GAP_S = 1e-3
"""Shorter gaps are the clock's."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A level, and what it failed by."""

    level: SessionLevel
    bound: Bound | None


def judge(
    heard: LoadResult,
    sessions: int,
    slo: Slo,
    *,
    model: str,
    arrivals: Arrivals = "closed",
    memory_mb: float | None = None,
    drift: bool = True,
) -> Verdict:
    """Judge what was heard of one model.

    Args:
        heard: What was heard.
        sessions: How many sessions spoke with it.
        slo: What it must keep to.
        model: The model.
        arrivals: How utterances came.
        memory_mb: The most memory that was in use meanwhile.
        drift: Whether figures that get worse fail it: not where it was too short to tell.
    """
    own = [each for each in heard.utterances if each.model == model]
    spoken = [each for each in own if each.first_s is not None]
    first_ms = first_audio_ms(own, slo)
    rtf = [each.rtf for each in own if each.rtf is not None]
    errors = sum(bool(each.error) for each in own) + len(heard.refused)
    shares = {limit_ms: continuity(spoken, limit_ms) for limit_ms in (0, 50, 100)}
    faults = _faults(own, heard, slo, first_ms=first_ms, c100=shares[100], rtf=rtf, errors=errors, drift=drift)
    level = SessionLevel(
        sessions=sessions,
        arrivals=arrivals,
        window_s=heard.seconds,
        utterances=sum(each.finished and not each.error and each.stop_s is None for each in own),
        ttfa_ms=percentiles(first_ms),
        rtf=percentiles(rtf, digits=4),
        jitter_ms=_jitter(heard.jitter.get(model, {})),
        stop_ms=percentiles([1000 * each.stop_s for each in own if each.stop_s is not None]),
        largest_gap_ms=round(1000 * max(each.gap_s for each in spoken), 1) if spoken else None,
        c0=shares[0],
        c50=shares[50],
        c100=shares[100],
        errors=errors,
        memory_mb=None if memory_mb is None else round(memory_mb, 1),
        stable=_stable(parts(own, heard.seconds), slo),
        passed=not faults,
        why="; ".join(text for _, text in faults),
    )
    return Verdict(level, faults[0][0] if faults else None)


def first_audio_ms(utterances: Iterable[UtteranceTimes], slo: Slo) -> list[float]:
    """Times to first audio, ms; of those who wait still, what they have waited beyond the SLO."""
    waited = [(each, each.took_s if each.first_s is None else each.first_s) for each in utterances]
    return [
        1000 * waited_s
        for each, waited_s in waited
        if each.first_s is not None or (not each.error and each.stop_s is None and 1000 * waited_s > slo.ttfa_ms)
    ]


def continuity(spoken: Sequence[UtteranceTimes], limit_ms: float) -> float | None:
    """Share of utterances without a gap above so many ms, %; None where nothing was heard.

    >>> continuity([UtteranceTimes(model="m", began_s=0, characters=9, gap_s=gap) for gap in (0, 0.03, 0.2)], 100)
    66.66
    """
    if not spoken:
        return None
    good = sum(each.gap_s <= max(limit_ms / 1000, TELLING_GAP_S) for each in spoken)
    return math.floor(10_000 * good / len(spoken)) / 100  # one gap among thousands isn't rounded away


def percentiles(values: Iterable[float], digits: int = 1) -> Percentiles | None:
    """The percentiles of values, rounded; None of none.

    >>> percentiles([3.04, 1, 2])
    Percentiles(p50=2.0, p95=3.0, p99=3.0, n=3)
    """
    ordered = sorted(values)
    if not ordered:
        return None
    p50, p95, p99 = (round(percentile(ordered, percent), digits) for percent in (50, 95, 99))
    return Percentiles(p50=p50, p95=p95, p99=p99, n=len(ordered))


def parts(utterances: Sequence[UtteranceTimes], seconds: float) -> list[list[UtteranceTimes]]:
    """Cut a measurement into windows of the same length, by when utterances began."""
    length = seconds / WINDOWS
    return [
        [each for each in utterances if int(min(each.began_s / length, WINDOWS - 1)) == number]
        for number in range(WINDOWS)
    ]


def oddities(heard: LoadResult, model: str) -> list[str]:
    """What can't be, of what was heard of a model alone: audio whose rate isn't what it says.

    Args:
        heard: One session, at `pacing=fast`, or several in real time.
        model: The model.
    """
    own = [each for each in heard.utterances if each.model == model and each.finished and not each.error]
    audio_s, characters = sum(each.audio_s for each in own), sum(each.characters for each in own)
    if not audio_s or any(each.stop_s is not None for each in own):
        return []
    odd = []
    if not 5 <= characters / audio_s <= 40:
        odd.append(
            f"{model} speaks {characters / audio_s:.1f} characters a second; 5 to 40 are usual: its audio may not have "
            "the sample rate that it says"
        )
    sounding_s = sum(each.took_s - (each.first_s or 0.0) for each in own)
    rtf = [each.rtf for each in own if each.rtf is not None]
    told = percentile(rtf, 50) if rtf else None
    if told is not None and told < 0.5 and sounding_s > 2.0 * audio_s:
        odd.append(
            f"{model}: the server says that computing takes {told:.2f} of the audio's time, but {audio_s:.1f} s of "
            f"audio took {sounding_s:.1f} s to come"
        )
    return odd


def _faults(
    own: Sequence[UtteranceTimes],
    heard: LoadResult,
    slo: Slo,
    *,
    first_ms: Sequence[float],
    c100: float | None,
    rtf: Sequence[float],
    errors: int,
    drift: bool,
) -> list[tuple[Bound, str]]:
    """What a load doesn't keep to; what binds comes first."""
    faults: list[tuple[Bound, str]] = []
    if errors:
        text = next((text for text in [*heard.refused, *(each.error for each in own)] if text), "")
        faults.append(("errors", f"{errors} of {len(own) + len(heard.refused)} failed: {text}"))
    if first_ms and (p95 := percentile(first_ms, 95)) > slo.ttfa_ms:
        faults.append(("ttfa", f"TTFA p95 {p95:.0f} ms is above {slo.ttfa_ms:g} ms"))
    if c100 is not None and c100 < slo.c100_percent:
        faults.append(("continuity", f"C100 {c100:g} % is below {slo.c100_percent:g} %"))
    if rtf and (middle := percentile(rtf, 50)) > 1:
        faults.append((
            "continuity",
            f"RTF {middle:.2f}: computing takes longer than playing, longer texts run dry",
        ))
    if drift and drifts(parts(own, heard.seconds), slo):  # after what it led to
        faults.append(("drift", "time to first audio grew all the while"))
    ahead_s = max((each.ahead_s for each in own), default=0.0)
    if ahead_s > LEAD_S:
        faults.append(("errors", f"audio came {ahead_s:.1f} s ahead of real time: its pace isn't kept"))
    if not first_ms and not errors:
        faults.append(("ttfa", f"no utterance began to sound within {heard.seconds:g} s"))
    return faults


def drifts(windows: Sequence[Sequence[UtteranceTimes]], slo: Slo) -> bool:
    """Whether times to first audio get longer from window to window, by more than chance has it."""
    middles = _middles(windows, slo)
    if len(middles) < WINDOWS:
        return False
    grows = all(one < other for one, other in pairwise(middles))
    return grows and middles[-1] > DRIFT * middles[0] and middles[-1] - middles[0] > DRIFT_SHARE * slo.ttfa_ms


def _middles(windows: Sequence[Sequence[UtteranceTimes]], slo: Slo) -> list[float]:
    """The middle of each window's times to first audio, of windows with enough of them."""
    found = [first_audio_ms(window, slo) for window in windows]
    return [percentile(each, 50) for each in found if len(each) >= ENOUGH]


def _stable(windows: Sequence[Sequence[UtteranceTimes]], slo: Slo) -> bool | None:
    """Whether TTFA and continuity of the windows are near each other; None where a window has too few to say."""
    first = [first_audio_ms(window, slo) for window in windows]
    shares = [continuity([each for each in window if each.first_s is not None], 100) for window in windows]
    if any(len(each) < ENOUGH for each in first):
        return None
    highest = [percentile(each, 95) for each in first]
    known = [share for share in shares if share is not None]
    return _near(highest, NEAR_MS) and _near(known, 0.0)


def _near(values: Sequence[float], least: float) -> bool:
    return max(values) - min(values) <= max(NEAR * max(values), least)


def _jitter(counts: Mapping[int, int]) -> Percentiles | None:
    """The percentiles of jitter that was counted in tenths of a ms."""
    total = sum(counts.values())
    if not total:
        return None
    found: list[float] = []
    below, ranks = 0, [-(-total * percent // 100) for percent in (50, 95, 99)]
    for tenths in sorted(counts):
        below += counts[tenths]
        found += [tenths / 10] * (sum(rank <= below for rank in ranks) - len(found))
    return Percentiles(p50=found[0], p95=found[1], p99=found[2], n=total)
