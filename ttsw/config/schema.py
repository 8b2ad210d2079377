"""The configuration's shape: which keys exist, what each means, which values are possible.

A key's docstring is its documentation: it becomes the comment in `configs/worker.yaml`. Where values come from (file,
environment, flags) is `ttsw.config.load`'s business; whether a model or a file named here exists is found out by those
who open it.
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
"""A time, `inf` meaning for ever."""
Deadline = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""A time that must end."""
OptionText = Annotated[str, BeforeValidator(_number_as_text)]


def _conflict(keys: Iterable[str], text: str) -> PydanticCustomError:
    """A fault between keys of one section; `keys` lead the reader to where each was given."""
    return PydanticCustomError("conflict", "{text}", {"text": text, "keys": tuple(keys)})


class Section(BaseModel):
    """What all sections share: frozen, strict about types, closed to unknown keys."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", use_attribute_docstrings=True, validate_default=True
    )


class CapabilitiesConfig(Section):
    """What the worker announces to clients and to the registry; null announces what its models can do, summed."""

    streaming: bool | None = None
    """Audio is sent while it is being made."""
    zero_shot: bool | None = None
    """A voice can be cloned from reference audio."""
    lora: bool | None = None
    """There are LoRA voices, or they can be chosen per session."""
    cpu_ok: bool | None = None
    """Something runs without a GPU."""
    emotive_zero_prompt: bool | None = None
    """Emotion can be asked for without a prompt."""
    languages: Annotated[tuple[Language, ...], Field(strict=False), AfterValidator(_not_empty)] | None = None
    """Languages spoken."""
    max_concurrent_sessions: Count = 16
    """Sessions admitted at once; the next is refused. 16 suit a CPU voice at RTF 0.1 on some cores, 3 a GPU family."""


class WorkerConfig(Section):
    """The worker: its name, where it listens, what it admits."""

    name: Text = "tts-worker-0"
    """The worker's name in the registry, unique among workers. WORKER_NAME sets it too."""
    grpc_host: Text = "127.0.0.1"
    """Address to listen on: 127.0.0.1 is for this machine only; 0.0.0.0 lets in everyone who reaches the port."""
    grpc_port: Annotated[int, Field(ge=0, le=65_535)] = 7002
    """Port to listen on; 0 takes a free one."""
    advertise_addr: Address | None = None
    """HOST:PORT at which others reach this worker, for the registry; null is this machine's name and the port."""
    tls_cert: File | None = None
    """PEM file of the server's certificate chain, with tls_key; null serves without TLS."""
    tls_key: File | None = None
    """PEM file of the certificate's private key."""
    session_idle_timeout_s: Annotated[float, Field(gt=0)] = 300.0
    """A session without activity for this long ends, s; .inf for never."""
    session_orphan_timeout_s: Annotated[float, Field(gt=0)] = 30.0
    """An idle session ends this long after the last connection that used it was closed or lost, s; .inf for never."""
    drain_timeout_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 30.0
    """On shutdown, running speech may finish within this time, s."""
    max_message_bytes: Count = 262_144
    """Largest gRPC message taken, bytes; a longer text is sent in several chunks."""
    max_text_chars: Count = 100_000
    """Longest text of one utterance, characters."""
    profile: str | None = None
    """Profile to run by: a name (ttsw profiles list), a file, or auto, which chooses by the device. It sets memory
    budgets, resident_cap and max_sessions. serve --profile sets it too."""
    strict_profile: bool = False
    """Don't start where the profile is of another device, driver or model; otherwise that is only said."""
    capabilities: CapabilitiesConfig = CapabilitiesConfig()

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise _conflict(("tls_cert", "tls_key"), "tls_cert and tls_key go together: give both, or neither")
        return self


class ModelManagerConfig(Section):
    """Which models are in memory, and for how long."""

    default_model_id: Text = "hibari-heart"
    """The model of a session that names none; loaded at start."""
    preload_model_ids: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    """More models to load at start."""
    voicepacks_dir: File | None = None
    """Folder of voice packs, <family>/<model>/metadata.yaml, beside those shipped, and before them; null is the
    user's own, $XDG_DATA_HOME/ttsw/voicepacks."""
    state_dir: File | None = None
    """Folder of what was measured of each model: size, load time, loudness; null is $XDG_STATE_HOME/ttsw."""
    gpus: Annotated[tuple[Annotated[int, Field(ge=0, le=999)], ...], Field(strict=False)] | None = None
    """GPUs that models may be on, by number ([0, 2]); null is all there are, [] none. serve --gpu sets it too."""
    memory_budget_mb: Mapping[Device, Megabytes] = Field(default_factory=dict)
    """Most memory for models, MB, by device (cpu: 4000, cuda:0: 20000); one not named may be filled."""
    memory_headroom_mb: Megabytes = 256.0
    """Memory of each device that is left to others, MB."""
    ttl_ms: Duration = 600_000.0
    """A model unused for this long is unloaded, ms; .inf for never."""
    min_residency_ms: Duration = 120_000.0
    """A model stays at least this long once loaded, against thrashing, ms."""
    evict_check_interval_ms: Deadline = 30_000.0
    """How often idle models are looked for, ms."""
    max_sessions: Mapping[Text, Count] = Field(default_factory=dict)
    """Sessions at once by model, where it has the worker to itself ({hibari-heart: 24}); one not named takes
    worker.capabilities.max_concurrent_sessions, or 2 to 4 if it is made for a GPU. A profile sets it."""
    mixed_sessions: Count | None = None
    """Sessions at once where they are on several models; null leaves it to their shares of max_sessions alone."""
    resident_cap: Count = 3
    """Most models in memory at once."""
    max_parallel_loads: Count = 1
    """Most loads at once; more risks running out of memory."""
    warmup_enabled: bool = True
    """Speak warmup_text once after loading, so that the first session finds the model warm."""
    warmup_text: str = "This is a warmup test."
    """What is spoken, and thrown away, to warm up."""

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
    """How one family's engine runs. A family that the configuration doesn't name runs with these defaults."""

    threads: Count | None = None
    """Threads of one inference; null leaves it to the family. Several sessions gain more from concurrency."""
    concurrency: Count | None = None
    """Inferences of one model at once; null leaves it to the family. More than there are cores only slows each."""
    host: Literal["thread", "process"] | None = None
    """Where the engine runs: in threads of the worker, or each model in a process of its own; null leaves it to the
    family."""
    python: File | None = None
    """Interpreter of the engine's processes; null is that of the family's own environment (see ttsw engines), or
    ours."""
    device: EngineDevice | None = None
    """Where models of the family go: cpu, cuda (any GPU), cuda:0 …; null leaves it to the family and to the pack."""
    load_timeout_s: Deadline = 600.0
    """A process whose model has not loaded by then is ended, s,"""
    answer_timeout_s: Deadline = 10.0
    """one that doesn't answer for this long is ended, s,"""
    step_timeout_s: Deadline = 60.0
    """and one that is at a single step for this long, s."""
    options: Mapping[str, OptionText] = Field(default_factory=dict)
    """Defaults for the family's session options, by name; a session's own options win."""

    @model_validator(mode="after")
    def _python_is_used(self) -> Self:
        if self.host == "thread" and self.python is not None:
            raise _conflict(
                ("host", "python"), "python is the interpreter of processes, and host is thread: give host: process"
            )
        return self


class AudioConfig(Section):
    """What leaves the worker."""

    output_sample_rate: Literal[48_000] = 48_000
    """Sample rate on the wire, Hz; the contract knows only 48000."""
    frame_duration_ms: Literal[20] = 20
    """Duration of a frame, ms; the contract knows only 20."""
    loudness_target_lufs: Annotated[float, Field(ge=-40, le=-5)] = -16.0
    """Loudness that voices are brought to, LUFS."""
    normalization_enabled: bool = True
    """Bring voices to that loudness; false sends what the model made, only limited."""
    lead_ms: Annotated[float, Field(ge=FRAME_MS, le=60_000)] = 40.0
    """Audio sent ahead of real time, ms: a client's jitter buffer, and the most that a PAUSE leaves to play."""


class RedisConfig(Section):
    """The service registry."""

    url: RedisUrl | None = None
    """The registry, such as redis://localhost:6379; null registers nowhere."""
    takeover: bool = False
    """Take the name from a worker that has it, rather than refuse to start."""
    registration_ttl_seconds: Count = 30
    """A worker silent for this long drops out of the registry, s."""
    heartbeat_interval_seconds: Deadline = 10.0
    """How often the worker renews its registration, s; shorter than registration_ttl_seconds."""

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
    """The HTTP port for machines that watch the worker: /metrics, /healthz and /readyz."""

    http_host: Text = "127.0.0.1"
    """Address to listen on."""
    http_port: Annotated[int, Field(ge=0, le=65_535)] | None = None
    """Port to listen on; 0 takes a free one, null serves none."""


class TracingConfig(Section):
    """OpenTelemetry traces: a span for each utterance; needs the extra `otel`."""

    enabled: bool = False
    """Export traces, to where OTEL_EXPORTER_OTLP_ENDPOINT and its like say."""
    sample_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of utterances traced, of those whose client doesn't decide."""


class LoggingConfig(Section):
    """What is logged, and how."""

    level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)] = "INFO"
    """Least severity logged: DEBUG, INFO, WARNING, ERROR or CRITICAL. LOG_LEVEL sets it too."""
    format: Literal["json", "console"] = "json"
    """json: one object a line, for machines; console: for eyes."""
    include_session_id: bool = True
    """Put the session's id on each line that belongs to one."""


class Config(Section):
    """The whole configuration. `Config()` is the defaults."""

    worker: WorkerConfig = WorkerConfig()
    model_manager: ModelManagerConfig = ModelManagerConfig()
    engines: Mapping[Family, EngineConfig] = Field(default_factory=dict)
    """How a family's engine runs, by family; one that isn't named runs with the defaults."""
    audio: AudioConfig = AudioConfig()
    redis: RedisConfig = RedisConfig()
    metrics: MetricsConfig = MetricsConfig()
    tracing: TracingConfig = TracingConfig()
    logging: LoggingConfig = LoggingConfig()

    def engine(self, family: str) -> EngineConfig:
        """Give a family's settings; the defaults where the configuration doesn't name it."""
        return self.engines.get(family, _ENGINE_DEFAULTS)


_ENGINE_DEFAULTS = EngineConfig()
