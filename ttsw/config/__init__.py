"""The configuration: a frozen, strict schema, the layers that fill it, and the files shipped with the package.

>>> config = load_config(None, {"TTSW_WORKER__GRPC_PORT": "0"}, {"worker.name": "alto"})
>>> config.worker.name, config.worker.grpc_port, config.redis.url
('alto', 0, None)
"""

from ttsw.config.dump import to_yaml
from ttsw.config.folders import data_dir, state_dir
from ttsw.config.load import load_config, trace_config
from ttsw.config.schema import (
    AudioConfig,
    CapabilitiesConfig,
    Config,
    EngineConfig,
    LoggingConfig,
    MetricsConfig,
    ModelManagerConfig,
    RedisConfig,
    TracingConfig,
    WorkerConfig,
)
from ttsw.config.shipped import shipped_dir

__all__ = [
    "AudioConfig",
    "CapabilitiesConfig",
    "Config",
    "EngineConfig",
    "LoggingConfig",
    "MetricsConfig",
    "ModelManagerConfig",
    "RedisConfig",
    "TracingConfig",
    "WorkerConfig",
    "data_dir",
    "load_config",
    "shipped_dir",
    "state_dir",
    "to_yaml",
    "trace_config",
]
