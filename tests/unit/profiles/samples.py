"""Profiles for tests."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from ttsw.profiles.schema import (
    DerivedSettings,
    DeviceFacts,
    HostFacts,
    Interference,
    LoadFacts,
    ModelFacts,
    Percentiles,
    Profile,
    SessionLevel,
    Slo,
    Spread,
)
from ttsw.profiles.writer import tidy


def spread(median, by=0.0, n=3):
    return Spread(median=median, low=median - by, high=median + by, n=n)


def level(sessions, ttfa=100.0, *, passed=True, **more):
    return SessionLevel(
        sessions=sessions,
        window_s=10,
        utterances=40,
        ttfa_ms=Percentiles(p50=ttfa, p95=ttfa * 1.1, p99=ttfa * 1.2, n=40),
        rtf=Percentiles(p50=0.1, p95=0.11, p99=0.12, n=40),
        c0=98.0,
        c50=99.5,
        c100=100.0 if passed else 90.0,
        passed=passed,
        why="" if passed else "TTFA p95 is above the SLO",
        **more,
    )


def model(size=1000.0, **more):
    return ModelFacts(**{"family": "piper", "size_mb": size, "peak_mb": size * 1.2, "sessions": 10} | more)


MEASURED = Profile(
    name="sample",
    provenance="measured",
    date=datetime(2026, 11, 22, 12, 30, 15, tzinfo=UTC),
    device=DeviceFacts(kind="cpu", name="A Processor", memory_mb=8000, cores=2),
    host=HostFacts(processor="A Processor", cores=2, memory_mb=8000, system="Linux 6"),
    software={"onnxruntime": "1.20"},
    slo=Slo(),
    floor_mb=80.5,
    disturbances=("load average 3.5", "another: one"),
    models={
        "piper-anna": model(
            137.25,
            version="1.0",
            digest="ab" * 32,
            session_mb=spread(2.5, 0.5),
            load=LoadFacts(load_s=spread(0.9, 0.05), unload_s=spread(0.1), returned_percent=99.5, lufs=-23.1),
            bound="ttfa",
            sweep=(level(1), level(4, 150.0), level(12, 310.0, passed=False), level(3, arrivals="poisson")),
        ),
        "hibari-heart": model(150.0, family="hibari", sessions=None),
    },
    interference=(
        Interference(speaking="piper-anna", beside="hibari-heart", doing="speaks", level=level(2)),
        Interference(speaking="piper-anna", beside="hibari-heart", doing="loads", level=level(2, passed=False)),
    ),
    derived=DerivedSettings(
        headroom_mb=400,
        budget_mb=7600,
        resident_cap=2,
        resident=("hibari-heart", "piper-anna"),
        sessions={"piper-anna": 9},
        mixed_sessions=9,
        margin=0.9,
    ),
    notes="a note\nof two lines",
)
MEASURED = tidy(MEASURED)

_numbers = st.floats(0, 1e12)
_texts = st.text(st.characters(codec="utf-8"), max_size=200)
_ids = st.text("abcdefghijk-", min_size=1, max_size=12)
_percentiles = st.none() | st.builds(Percentiles, p50=_numbers, p95=_numbers, p99=_numbers, n=st.integers(1, 10**9))
_spreads = st.builds(Spread, median=st.floats(-1e9, 1e9), low=_numbers, high=_numbers, n=st.integers(1, 9))
_levels = st.builds(
    SessionLevel,
    sessions=st.integers(1, 999),
    arrivals=st.sampled_from(["closed", "poisson"]),
    window_s=_numbers,
    utterances=st.integers(0, 10**6),
    ttfa_ms=_percentiles,
    rtf=_percentiles,
    c0=st.none() | st.floats(0, 100),
    c100=st.none() | st.floats(0, 100),
    memory_mb=st.none() | _numbers,
    stable=st.none() | st.booleans(),
    passed=st.booleans(),
    why=_texts,
)
_models = st.builds(
    ModelFacts,
    family=_texts,
    version=_texts,
    digest=st.none() | st.just("0123456789abcdef" * 4),
    base=_texts,
    size_mb=_numbers,
    peak_mb=_numbers,
    session_mb=st.none() | _spreads,
    load=st.none() | st.builds(LoadFacts, load_s=_spreads, lufs=st.none() | st.floats(-99, 0)),
    sessions=st.none() | st.integers(0, 999),
    bound=st.sampled_from([None, "memory", "search"]),
    sweep=st.lists(_levels, max_size=3).map(tuple),
)


@st.composite
def profiles(draw):
    """Profiles of all kinds; none that a bench would write."""
    models = draw(st.dictionaries(_ids | _texts, _models, max_size=3))
    sessions = {name: draw(st.integers(1, 999)) for name in models if draw(st.booleans())}
    return Profile(
        name=draw(st.from_regex(r"[a-z0-9]+([-_.][a-z0-9]+)*", fullmatch=True).filter(lambda name: len(name) <= 100)),
        provenance=draw(st.sampled_from(["measured", "partial", "estimated"])),
        date=draw(st.datetimes(timezones=st.sampled_from([None, UTC]))),
        device=draw(
            st.builds(
                DeviceFacts,
                kind=st.sampled_from(["cpu", "gpu"]),
                name=_texts,
                memory_mb=_numbers,
                driver=st.none() | _texts,
                mig=st.none() | st.booleans(),
            )
        ),
        software=draw(st.dictionaries(_texts, _texts, max_size=3)),
        floor_mb=draw(st.none() | _numbers),
        disturbances=tuple(draw(st.lists(_texts, max_size=3))),
        models=models,
        interference=tuple(
            draw(st.lists(st.builds(Interference, speaking=_ids, beside=_ids, level=_levels), max_size=2))
        ),
        derived=DerivedSettings(
            headroom_mb=draw(_numbers),
            budget_mb=draw(_numbers),
            resident_cap=draw(st.integers(1, 99)),
            resident=tuple(sorted(sessions)),
            sessions=sessions,
            mixed_sessions=draw(st.integers(1, 99)),
            margin=draw(st.floats(0.01, 1)),
        ),
        notes=draw(_texts),
    )
