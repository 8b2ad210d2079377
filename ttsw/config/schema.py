"""The schema of the configuration: keys, their documentation, and valid values.

A key's docstring becomes its comment in `configs/worker.yaml`. `ttsw.config.load` merges values from the file, the
environment and flags. Whether a named model or file exists is checked when it is opened.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from ttsw.units import FRAME_MS


def _require(pattern: str, wanted: str) -> AfterValidator:
    def check(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise PydanticCustomError("wanted", "must be {wanted}", {"wanted": wanted})
        return text

    return AfterValidator(check)


def _not_empty(items: tuple[str, ...]) -> tuple[str, ...]:
    if not items:
        raise PydanticCustomError("wanted", "must be a list of one or more")
    return items


def _number_as_text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


_NAME = r"[^\s\x00-\x1f\x7f]{1,200}"

Text = Annotated[str, _require(_NAME, "a text without spaces, 1 to 200 characters")]
Language = Annotated[str, _require(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*", 'a language code such as "en" or "zh-CN"')]
Family = Annotated[str, _require(r"[a-z0-9]+(-[a-z0-9]+)*", 'a family\'s name such as "piper" or "xtts-v2"')]
RedisUrl = Annotated[
    str,
    _require(
        r"(rediss?|unix|redis\+sentinel)://\S+", "a redis://, rediss://, unix:// or redis+sentinel:// URL, or null"
    ),
]
Address = Annotated[str, _require(r"(\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):\d{1,5}", "HOST:PORT, or null")]
File = Annotated[Path, Field(strict=False)]
Device = Annotated[str, _require(r"cpu|cuda:\d{1,3}", "a device: cpu, cuda:0, cuda:1 …")]
EngineDevice = Annotated[str, _require(r"cpu|cuda(:\d{1,3})?", "cpu, cuda (any GPU), cuda:0, cuda:1 …")]
Megabytes = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Duration = Annotated[float, Field(ge=0)]
"""A duration; `inf` means forever."""
Deadline = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""A finite duration."""
OptionText = Annotated[str, BeforeValidator(_number_as_text)]


def _conflict(keys: Iterable[str], text: str) -> PydanticCustomError:
    """Return an error about conflicting keys of one section; `keys` are those to locate."""
    return PydanticCustomError("conflict", "{text}", {"text": text, "keys": tuple(keys)})


class Section(BaseModel):
    """Base of all sections: frozen, strict about types, closed to unknown keys."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", use_attribute_docstrings=True, validate_default=True
    )


class CapabilitiesConfig(Section):
    """Capabilities announced to clients and to the registry; null announces those of all models combined."""

    streaming: bool | None = None
    """Whether audio is sent while it is synthesised."""
    zero_shot: bool | None = None
    """Whether a voice can be cloned from reference audio."""
    lora: bool | None = None
    """Whether LoRA voices exist, or can be chosen per session."""
    cpu_ok: bool | None = None
    """Whether some model runs without a GPU."""
    emotive_zero_prompt: bool | None = None
    """Whether emotion can be requested without a prompt."""
    languages: Annotated[tuple[Language, ...], Field(strict=False), AfterValidator(_not_empty)] | None = None
    """Languages, BCP 47."""
    max_concurrent_sessions: Count = 16
    """Most concurrent sessions; further ones are refused. 16 suit a CPU voice at RTF 0.1 on a few cores, 3 a GPU
    family.
    """


class WorkerConfig(Section):
    """The worker: name, addresses, limits."""

    name: Text = "tts-worker-0"
    """The worker's name in the registry, unique among workers. WORKER_NAME sets it, too."""
    grpc_host: Text = "127.0.0.1"
    """Address to listen on: 127.0.0.1 is this machine only; 0.0.0.0 admits everyone who reaches the port."""
    grpc_port: Annotated[int, Field(ge=0, le=65_535)] = 7002
    """Port to listen on; 0 chooses a free one."""
    advertise_addr: Address | None = None
    """The worker's HOST:PORT for others, in the registry; null uses this machine's name and the port."""
    tls_cert: File | None = None
    """PEM file with the server's certificate chain, together with tls_key; null serves without TLS."""
    tls_key: File | None = None
    """PEM file with the certificate's private key."""
    session_idle_timeout_s: Annotated[float, Field(gt=0)] = 300.0
    """Time without activity after which a session ends, seconds; .inf disables it."""
    session_orphan_timeout_s: Annotated[float, Field(gt=0)] = 30.0
    """Time after which an idle session ends once its last connection has closed, seconds; .inf disables it."""
    drain_timeout_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 30.0
    """Time for running speech to finish on shutdown, seconds."""
    max_message_bytes: Count = 262_144
    """Largest gRPC message accepted, bytes; send a longer text in several chunks."""
    max_text_chars: Count = 100_000
    """Longest text of one utterance, characters."""
    profile: str | None = None
    """Profile to run by: a name (ttsw profiles list), a file, or auto, which matches the device. It sets memory
    budgets, resident_cap and max_sessions. serve --profile sets it, too.
    """
    strict_profile: bool = False
    """Refuse to start if the profile is of another device, driver or model; otherwise only log the mismatch."""
    capabilities: CapabilitiesConfig = CapabilitiesConfig()

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise _conflict(("tls_cert", "tls_key"), "tls_cert and tls_key go together: give both, or neither")
        return self


class ModelManagerConfig(Section):
    """Models in memory."""

    default_model_id: Text = "hibari-heart"
    """Model of sessions that name none; loaded at start."""
    preload_model_ids: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    """Further models to load at start."""
    voicepacks_dir: File | None = None
    """Folder of voice packs, <family>/<model>/metadata.yaml, which take precedence over the shipped ones; null is the
    user's own, $XDG_DATA_HOME/ttsw/voicepacks.
    """
    state_dir: File | None = None
    """Folder for measurements of models (size, load time, loudness); null is $XDG_STATE_HOME/ttsw."""
    gpus: Annotated[tuple[Annotated[int, Field(ge=0, le=999)], ...], Field(strict=False)] | None = None
    """GPUs for models, by number ([0, 2]); null means all, [] none. serve --gpu sets it, too."""
    memory_budget_mb: Mapping[Device, Megabytes] = Field(default_factory=dict)
    """Memory limit for models by device, MB (cpu: 4000, cuda:0: 20000); a device that is not listed may be filled."""
    memory_headroom_mb: Megabytes = 256.0
    """Memory of each device left to other programs, MB."""
    ttl_ms: Duration = 600_000.0
    """Idle time after which a model is unloaded, ms; .inf disables it."""
    min_residency_ms: Duration = 120_000.0
    """Minimum time that a loaded model stays in memory, against thrashing, ms."""
    evict_check_interval_ms: Deadline = 30_000.0
    """Interval between checks for idle models, ms."""
    max_sessions: Mapping[Text, Count] = Field(default_factory=dict)
    """Most concurrent sessions by model, when no other model is in use ({hibari-heart: 24}). A model that is not listed
    gets worker.capabilities.max_concurrent_sessions, or 2 to 4 if it is made for a GPU. A profile sets it.
    """
    mixed_sessions: Count | None = None
    """Most concurrent sessions while several models are in use; null applies only their shares of max_sessions."""
    resident_cap: Count = 3
    """Most models in memory."""
    max_parallel_loads: Count = 1
    """Most concurrent loads; more risk running out of memory."""
    warmup_enabled: bool = True
    """Speak warmup_text once after loading, so that the first session finds the model warm."""
    warmup_text: str = "This is a warmup test."
    """Text spoken, and discarded, as warm-up."""

    @model_validator(mode="after")
    def _start_fits(self) -> Self:
        wanted = {self.default_model_id, *self.preload_model_ids}
        if len(wanted) > self.resident_cap:
            text = f"default and preloaded models are {len(wanted)}, more than resident_cap {self.resident_cap}"
            raise _conflict(("default_model_id", "preload_model_ids", "resident_cap"), text)
        if self.warmup_enabled and not self.warmup_text.strip():
            raise _conflict(
                ("warmup_enabled", "warmup_text"), "warmup_text is blank: give a text, or warmup_enabled: false"
            )
        return self


class EngineConfig(Section):
    """Engine of one family. Families that are not listed use these defaults."""

    threads: Count | None = None
    """Threads per inference; null lets the family choose. Several sessions gain more from concurrency."""
    concurrency: Count | None = None
    """Concurrent inferences per model; null lets the family choose. More than the number of cores slows each down."""
    host: Literal["thread", "process"] | None = None
    """Where the engine runs: in threads of the worker, or each model in a process of its own; null lets the family
    choose.
    """
    python: File | None = None
    """Interpreter of the engine processes; null uses the family's own environment (see ttsw engines), or the worker's
    interpreter.
    """
    device: EngineDevice | None = None
    """Device of the models: cpu, cuda (any GPU), cuda:0 …; null lets the family and the pack choose."""
    load_timeout_s: Deadline = 600.0
    """Time after which a process that is still loading is killed, seconds."""
    answer_timeout_s: Deadline = 10.0
    """Time after which a process that does not respond is killed, seconds."""
    step_timeout_s: Deadline = 60.0
    """Time after which a process that is still in the same step is killed, seconds."""
    options: Mapping[str, OptionText] = Field(default_factory=dict)
    """Defaults for the family's session options, by name; a session's own options take precedence."""

    @model_validator(mode="after")
    def _python_is_used(self) -> Self:
        if self.host == "thread" and self.python is not None:
            raise _conflict(
                ("host", "python"), "python is the interpreter of processes, and host is thread: give host: process"
            )
        return self


class AudioConfig(Section):
    """Audio output."""

    output_sample_rate: Literal[48_000] = 48_000
    """Sample rate on the wire, Hz; the contract allows only 48000."""
    frame_duration_ms: Literal[20] = 20
    """Duration of a frame, ms; the contract allows only 20."""
    loudness_target_lufs: Annotated[float, Field(ge=-40, le=-5)] = -16.0
    """Target loudness of voices, LUFS."""
    normalization_enabled: bool = True
    """Normalise voices to that loudness; false sends the model's own level, only limited."""
    lead_ms: Annotated[float, Field(ge=FRAME_MS, le=60_000)] = 40.0
    """Audio sent ahead of real time, ms: the jitter buffer of a client, and the most it has left to play after PAUSE.
    """


class RedisConfig(Section):
    """The service registry."""

    url: RedisUrl | None = None
    """URL of the registry, such as redis://localhost:6379; null disables registration."""
    takeover: bool = False
    """Take the name over from a live worker instead of refusing to start."""
    registration_ttl_seconds: Count = 30
    """Time without a heartbeat after which a worker drops out of the registry, seconds."""
    heartbeat_interval_seconds: Deadline = 10.0
    """Interval between heartbeats, seconds; shorter than registration_ttl_seconds."""

    @model_validator(mode="after")
    def _beats_in_time(self) -> Self:
        if self.heartbeat_interval_seconds >= self.registration_ttl_seconds:
            keys = ("heartbeat_interval_seconds", "registration_ttl_seconds")
            text = (
                f"heartbeat_interval_seconds {self.heartbeat_interval_seconds:g} must be less than "
                f"registration_ttl_seconds {self.registration_ttl_seconds}, or the registration lapses between beats"
            )
            raise _conflict(keys, text)
        return self


class MetricsConfig(Section):
    """HTTP port for monitoring: /metrics, /healthz and /readyz."""

    http_host: Text = "127.0.0.1"
    """Address to listen on."""
    http_port: Annotated[int, Field(ge=0, le=65_535)] | None = None
    """Port to listen on; 0 chooses a free one, null disables it."""


class TracingConfig(Section):
    """OpenTelemetry traces: a span for each utterance; needs the extra `otel`."""

    enabled: bool = False
    """Export traces, as OTEL_EXPORTER_OTLP_ENDPOINT and related variables say."""
    sample_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of utterances traced, unless the client's traceparent decides."""


class LoggingConfig(Section):
    """Logging."""

    level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)] = "INFO"
    """Lowest severity logged: DEBUG, INFO, WARNING, ERROR or CRITICAL. LOG_LEVEL sets it, too."""
    format: Literal["json", "console"] = "json"
    """json: one object per line, for programs; console: for people."""
    include_session_id: bool = True
    """Add the session's id to each of its log lines."""


class Config(Section):
    """The whole configuration; `Config()` has the defaults."""

    worker: WorkerConfig = WorkerConfig()
    model_manager: ModelManagerConfig = ModelManagerConfig()
    engines: Mapping[Family, EngineConfig] = Field(default_factory=dict)
    """Engines, by family; families that are not listed use the defaults."""
    audio: AudioConfig = AudioConfig()
    redis: RedisConfig = RedisConfig()
    metrics: MetricsConfig = MetricsConfig()
    tracing: TracingConfig = TracingConfig()
    logging: LoggingConfig = LoggingConfig()

    def engine(self, family: str) -> EngineConfig:
        """Return a family's settings, or the defaults if the family isn't configured."""
        return self.engines.get(family, _ENGINE_DEFAULTS)


_ENGINE_DEFAULTS = EngineConfig()
