"""Profiles to simulate."""

from datetime import UTC, datetime

from ttsw.profiles.schema import (
    DerivedSettings,
    DeviceFacts,
    ModelFacts,
    Percentiles,
    Profile,
    SessionLevel,
    Slo,
    Spread,
)


def make(memory_mb=24_000.0, slo=None, **models):
    """A profile of a GPU, with models of the family f by name."""
    derived = DerivedSettings(headroom_mb=500, budget_mb=memory_mb - 500, resident_cap=3, mixed_sessions=1, margin=1.0)
    return Profile(
        name="simulated",
        provenance="estimated",
        date=datetime(2026, 1, 1, tzinfo=UTC),
        device=DeviceFacts(kind="gpu", name="NVIDIA GeForce RTX 4090", memory_mb=memory_mb),
        slo=slo or Slo(),
        models={f"f-{name}": facts for name, facts in models.items()},
        derived=derived,
    )


def facts(sessions=6, bound="continuity", session_mb=None, size_mb=4_000.0, sweep=()):
    session = None if session_mb is None else Spread(median=session_mb, low=session_mb, high=session_mb, n=1)
    return ModelFacts(
        family="f",
        size_mb=size_mb,
        peak_mb=size_mb * 1.5,
        session_mb=session,
        sessions=sessions,
        bound=bound,
        sweep=tuple(sweep),
    )


def level(sessions, ttfa_ms, rtf, **more):
    return SessionLevel(
        sessions=sessions,
        window_s=10.0,
        utterances=10,
        ttfa_ms=Percentiles(p50=ttfa_ms, p95=ttfa_ms, p99=ttfa_ms, n=10),
        rtf=Percentiles(p50=rtf, p95=rtf, p99=rtf, n=10),
        passed=True,
        **more,
    )
