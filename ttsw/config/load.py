"""Merging the layers of the configuration: defaults < file < profile < environment < flags.

The merged whole is validated, rather than each layer, so that a certificate may come from the file and its key from the
environment. Each error still names the origin of the value.
"""

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from ttsw.config.environment import environment_settings
from ttsw.config.faults import explain
from ttsw.config.keys import Setting, Settings, from_text, leaves, nest
from ttsw.config.schema import Config
from ttsw.config.yaml_file import read_settings
from ttsw.errors import ConfigError


def load_config(
    path: Path | None, environ: Mapping[str, str], flags: Mapping[str, object], profile: Settings | None = None
) -> Config:
    """Load the configuration.

    Args:
        path: The YAML file; None for none.
        environ: The environment variables.
        flags: Command-line values by dotted key (`worker.grpc_port`); None counts as not given.
        profile: Values set by a profile.

    Raises:
        ConfigError: A value isn't valid; the message lists all errors, each with origin, key, value and valid values.
    """
    return trace_config(path, environ, flags, profile)[0]


def trace_config(
    path: Path | None, environ: Mapping[str, str], flags: Mapping[str, object], profile: Settings | None = None
) -> tuple[Config, dict[str, str]]:
    """Load the configuration, with the origin of each value.

    Returns:
        The configuration, and the origins by dotted key: "default", a file with its line, a variable, or a flag.

    Raises:
        ConfigError: See `load_config`.
    """
    file = read_settings(path) if path else {}
    given = file | (profile or {}) | environment_settings(environ) | _flag_settings(flags)
    try:
        config = Config.model_validate(nest(given))
    except ValidationError as error:
        raise ConfigError(explain(error.errors(include_url=False), given)) from None
    origins = {key: given[key].origin if key in given else "default" for key, _ in leaves(config.model_dump())}
    return config, {".".join(key): origin for key, origin in origins.items()}


def _flag_settings(flags: Mapping[str, object]) -> Settings:
    """Return flags as settings; their texts are read like those of variables."""
    return {
        key: Setting(from_text(value, key) if isinstance(value, str) else value, f"flag {name}")
        for name, top in flags.items()
        if top is not None
        for key, value in leaves(top, tuple(name.split(".")))
    }
