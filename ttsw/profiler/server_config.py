"""The configuration of the server under measurement: a user's, with what would be in the way of measuring changed."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from ttsw.config import Config
from ttsw.config.environment import is_variable

IDLE_MODEL = "mock-440hz"
"""The default model of a server that is to have nothing in memory: it takes none."""
SESSIONS = 2_000
"""Sessions that the server admits: more than any search asks for."""


def measuring_config(
    config: Config, state: Path, *, gpus: tuple[int, ...], model_ids: Iterable[str] = (), simulated: str | None = None
) -> Config:
    """Change a configuration to what a measurement needs.

    Args:
        config: The user's.
        state: The folder of state to have.
        gpus: The GPUs that models may be on.
        model_ids: Models that are to be given any number of sessions.
        simulated: The default model, where the server simulates; it has no other models.
    """
    default = simulated or IDLE_MODEL
    worker = config.worker.model_copy(
        update={
            "name": "ttsw-bench",
            "profile": None,
            "strict_profile": False,
            "grpc_host": "127.0.0.1",
            "grpc_port": 0,
            "tls_cert": None,
            "tls_key": None,
            "advertise_addr": None,
            "drain_timeout_s": 0.0,
            "session_idle_timeout_s": 3_600.0,
            "capabilities": config.worker.capabilities.model_copy(update={"max_concurrent_sessions": SESSIONS}),
        }
    )
    models = config.model_manager.model_copy(
        update={
            "default_model_id": default,
            "preload_model_ids": (),
            "state_dir": state,
            "gpus": gpus,
            "memory_budget_mb": {},
            "mixed_sessions": None,
            "ttl_ms": float("inf"),
            "min_residency_ms": 0.0,
            "max_sessions": dict.fromkeys(model_ids, SESSIONS),
            "resident_cap": 1_000,
            "warmup_enabled": True,
            "warmup_text": config.model_manager.warmup_text.strip() or "This is a warmup test.",
        }
    )
    return config.model_copy(
        update={
            "worker": worker,
            "model_manager": models,
            "redis": config.redis.model_copy(update={"url": None}),
            "metrics": config.metrics.model_copy(update={"http_port": None}),
            "tracing": config.tracing.model_copy(update={"enabled": False}),
            "logging": config.logging.model_copy(update={"level": "INFO", "format": "json"}),
        }
    )


def child_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without settings, which are all in the server's file.

    >>> child_environ({"PATH": "/bin", "TTSW_WORKER__GRPC_PORT": "7002", "LOG_LEVEL": "DEBUG"})
    {'PATH': '/bin'}
    """
    return {name: text for name, text in environ.items() if not (is_variable(name) and _is_setting(name))}


def _is_setting(name: str) -> bool:
    return not name.startswith("TTSW_") or "__" in name
