"""What a profile file says: the keys of `profiles/NAME.yaml`, and which values are possible.

What was not measured is absent (null), never a default. Memory is in MB of 10⁶ bytes, times are in ms or s as the key
says. A profile of another format is refused: figures that mean something else are worse than none.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

FORMAT: Literal[1] = 1

Name = Annotated[str, Field(pattern=r"^[a-z0-9]+([-_.][a-z0-9]+)*$", max_length=100)]
Megabytes = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Time = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
Percent = Annotated[float, Field(ge=0, le=100)]

Bound = Literal["memory", "ttfa", "continuity", "errors", "drift", "search"]
"""What kept a model from more sessions: no memory, the SLO's time to first audio, its continuity, refusals and errors,
figures that got worse within a window; or nothing did, and the search ended."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Spread(_Section):
    """A number that was measured several times.

    Args:
        median: Its median.
        low: The lowest.
        high: The highest.
        n: How many times.
    """

    median: float
    low: float
    high: float
    n: Annotated[int, Field(ge=1)]


class Percentiles(_Section):
    """How many numbers lie: by nearest rank, of `n`."""

    p50: float
    p95: float
    p99: float
    n: Annotated[int, Field(ge=1)]


class DeviceFacts(_Section):
    """The device.

    Args:
        kind: What it is.
        name: Its product name, as the driver or the system says it.
        memory_mb: What it has of memory.
        cores: A CPU's cores, those that this process may use.
        driver: A GPU's driver.
        compute_capability: A GPU's generation ("8.9").
        power_limit_w: A GPU's power limit.
        clock_mhz: The highest clock of a GPU's processors.
        mig: Whether it is a part of a GPU.
        ecc: Whether its memory corrects errors.
    """

    kind: Literal["cpu", "gpu"]
    name: str
    memory_mb: Megabytes
    cores: int | None = None
    driver: str | None = None
    compute_capability: str | None = None
    power_limit_w: float | None = None
    clock_mhz: float | None = None
    mig: bool | None = None
    ecc: bool | None = None


class HostFacts(_Section):
    """The machine that the device is in."""

    processor: str
    cores: int
    memory_mb: Megabytes
    system: str


class Slo(_Section):
    """What a level of load must keep to.

    Args:
        ttfa_ms: Time to first audio that 95 of 100 utterances keep.
        c100_percent: Share of utterances without a gap above 100 ms.
    """

    ttfa_ms: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 300.0
    c100_percent: Percent = 100.0


class SessionLevel(_Section):
    """What was measured with so many sessions at once: a row of the sweep.

    Args:
        sessions: How many.
        arrivals: `closed`: who has spoken speaks again; `poisson`: utterances come by chance, at the rate which that
            many sessions would have.
        window_s: How long it was measured.
        utterances: How many were spoken to their end.
        ttfa_ms: From the text's being sent to the first audio.
        rtf: Time to compute each utterance by its length.
        jitter_ms: How far a frame's distance from the one before is off 20 ms.
        stop_ms: From a STOP's being sent to the end of the audio.
        largest_gap_ms: The longest time that playback stood still.
        c0, c50, c100: Share of utterances without a gap above 0, 50, 100 ms, %.
        errors: Utterances that failed, or were refused.
        memory_mb: What the device had in use, of ours.
        stable: Whether its last three windows lay within 10 %.
        passed: Whether it keeps to the SLOs.
        why: What it doesn't keep to.
    """

    sessions: Annotated[int, Field(ge=1)]
    arrivals: Literal["closed", "poisson"] = "closed"
    window_s: Time
    utterances: Count
    ttfa_ms: Percentiles | None = None
    rtf: Percentiles | None = None
    jitter_ms: Percentiles | None = None
    stop_ms: Percentiles | None = None
    largest_gap_ms: Time | None = None
    c0: Percent | None = None
    c50: Percent | None = None
    c100: Percent | None = None
    errors: Count = 0
    memory_mb: Megabytes | None = None
    stable: bool | None = None
    passed: bool
    why: str = ""


class LoadFacts(_Section):
    """What loading and unloading take, after the first load, which brings in libraries too.

    Args:
        load_s: Time from the request to ready.
        unload_s: Time until the memory is back.
        returned_percent: How much of it came back.
        leak_mb: What each load and unload leaves behind, by the slope over cycles.
        first_ms: Time to first audio of the first utterance after a load,
        second_ms: and of the second.
        lufs: How loud its voice is.
    """

    load_s: Spread
    unload_s: Spread | None = None
    returned_percent: float | None = None
    leak_mb: float | None = None
    first_ms: Time | None = None
    second_ms: Time | None = None
    lufs: float | None = None


class ModelFacts(_Section):
    """What is known of a model on the device.

    Args:
        family: Its family.
        version: Its pack's version.
        digest: SHA-256 over its files, hex; None where the profile is for any files of that name.
        base: The model that it is based on, if it does.
        size_mb: What it takes once it is loaded.
        peak_mb: What it takes at most while it is loaded.
        allocated_mb: What its tensors take, as the engine counts it.
        session_mb: What each session that speaks takes.
        load: What loading it takes.
        sessions: So many can speak at once within the SLOs, by measurement or estimate.
        bound: What kept it from more.
        sweep: What was measured, level by level.
    """

    family: str
    version: str = ""
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    base: str = ""
    size_mb: Megabytes
    peak_mb: Megabytes
    allocated_mb: Megabytes | None = None
    session_mb: Spread | None = None
    load: LoadFacts | None = None
    sessions: Count | None = None
    bound: Bound | None = None
    sweep: Annotated[tuple[SessionLevel, ...], Field(strict=False)] = ()


class Interference(_Section):
    """What two models do to each other.

    Args:
        speaking: The model that was listened to.
        beside: The other.
        doing: What that did: it spoke, or was loaded again and again.
        level: What was measured of the first.
    """

    speaking: str
    beside: str
    doing: Literal["speaks", "loads"]
    level: SessionLevel


class DerivedSettings(_Section):
    """What a server runs by: see `ttsw.profiles.derivation`.

    Args:
        headroom_mb: Memory that is left to others.
        budget_mb: Memory for models and their sessions.
        resident_cap: So many models are in memory at once, at most.
        resident: Those that are best had there together, the most of them that fit.
        sessions: Sessions at once by model, where it speaks alone.
        mixed_sessions: Sessions at once in all.
        margin: The share of what was measured that is published.
    """

    headroom_mb: Megabytes
    budget_mb: Megabytes
    resident_cap: Annotated[int, Field(ge=1)]
    resident: Annotated[tuple[str, ...], Field(strict=False)] = ()
    sessions: Mapping[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    mixed_sessions: Annotated[int, Field(ge=1)]
    margin: Annotated[float, Field(gt=0, le=1)]


class Profile(_Section):
    """A whole profile.

    Args:
        format: Which meaning its keys have.
        name: Its name: the file's.
        provenance: `measured` by `ttsw bench`, `partial` where that was interrupted, or `estimated` from sizes.
        date: When.
        device: What it is of.
        host: The machine it was measured in.
        software: Versions by name, of what has a say in the figures.
        slo: What a level of load must keep to.
        floor_mb: What an engine's process takes of the device before it has a model.
        disturbances: What disturbed the measurement, in words.
        models: What is known of each model, by id.
        interference: What models do to each other.
        derived: What a server runs by.
        notes: What a reader should know.
    """

    format: Literal[1] = FORMAT
    name: Name
    provenance: Literal["measured", "partial", "estimated"]
    date: Annotated[datetime, Field(strict=False)]
    device: DeviceFacts
    host: HostFacts | None = None
    software: Mapping[str, str] = Field(default_factory=dict)
    slo: Slo = Slo()
    floor_mb: Megabytes | None = None
    disturbances: Annotated[tuple[str, ...], Field(strict=False)] = ()
    models: Mapping[str, ModelFacts]
    interference: Annotated[tuple[Interference, ...], Field(strict=False)] = ()
    derived: DerivedSettings
    notes: str = ""

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        unknown = {*self.derived.sessions, *self.derived.resident} - self.models.keys()
        if unknown:
            names = ", ".join(sorted(unknown))
            raise PydanticCustomError("wanted", "derived names what models lacks: {names}", {"names": names})
        return self
